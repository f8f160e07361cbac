#include "netlink/filters.h"

#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>

#include "netlink/rtnetlink.h"

namespace ls::netlink {
namespace {

struct Filter {
  std::string kind;
  BpfFilter bpf;
};

/// A filter's chain announces itself once without and each filter once with a handle; only the latter count.
std::optional<Filter> parse_filter(nlmsghdr* h, int ifindex, bool ingress) {
  if (h->nlmsg_type != RTM_NEWTFILTER || nlmsg_attrlen(h, sizeof(tcmsg)) < 0) return std::nullopt;
  auto* info = static_cast<tcmsg*>(nlmsg_data(h));
  nlattr* tb[TCA_MAX + 1];
  if (info->tcm_ifindex != ifindex || info->tcm_handle == 0) return std::nullopt;
  if (nlmsg_parse(h, sizeof *info, tb, TCA_MAX, nullptr) < 0 || !tb[TCA_KIND]) return std::nullopt;
  Filter f;
  f.kind = nla_get_string(tb[TCA_KIND]);
  f.bpf.ifindex = ifindex;
  f.bpf.ingress = ingress;
  f.bpf.priority = TC_H_MAJ(info->tcm_info) >> 16;
  f.bpf.handle = info->tcm_handle;
  nlattr* opt[TCA_BPF_MAX + 1];
  if (f.kind == "bpf" && tb[TCA_OPTIONS] &&
      nla_parse_nested(opt, TCA_BPF_MAX, tb[TCA_OPTIONS], nullptr) == 0) {
    if (opt[TCA_BPF_NAME]) f.bpf.name = nla_get_string(opt[TCA_BPF_NAME]);
    if (opt[TCA_BPF_ID]) f.bpf.program_id = nla_get_u32(opt[TCA_BPF_ID]);
  }
  return f;
}

Result<> each_filter(int ifindex, const std::function<void(Filter)>& each) {
  for (bool ingress : {true, false}) {
    Message request(nlmsg_alloc_simple(RTM_GETTFILTER, NLM_F_DUMP));
    tcmsg header{};
    header.tcm_family = AF_UNSPEC;
    header.tcm_ifindex = ifindex;
    header.tcm_parent = TC_H_MAKE(TC_H_CLSACT, ingress ? TC_H_MIN_INGRESS : TC_H_MIN_EGRESS);
    nlmsg_append(request.get(), &header, sizeof header, NLMSG_ALIGNTO);
    LS_TRY(dump(std::move(request), [&](nlmsghdr* h) {
      if (auto f = parse_filter(h, ifindex, ingress)) each(std::move(*f));
    }));
  }
  return {};
}

}  // namespace

Result<std::vector<BpfFilter>> list_bpf_filters(int ifindex) {
  std::vector<BpfFilter> out;
  LS_TRY(each_filter(ifindex, [&](Filter f) {
    if (f.kind == "bpf") out.push_back(std::move(f.bpf));
  }));
  return out;
}

Result<size_t> count_filters(int ifindex) {
  size_t n = 0;
  LS_TRY(each_filter(ifindex, [&](Filter) { n++; }));
  return n;
}

}  // namespace ls::netlink
