#include "sources/recordio.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include <random>
#include <string>
#include <vector>

namespace {

using ls::PaddedRecord;
using ls::RecordIoReader;
using testing::HasSubstr;

std::string framed(const std::vector<std::string>& records) {
  std::string out;
  for (const auto& r : records) out += std::to_string(r.size()) + "\n" + r;
  return out;
}

/// Everything that can be read from `bytes`; stops at the first error.
struct Read {
  std::vector<std::string> records;
  std::string error;
};
void feed(RecordIoReader& reader, std::string_view bytes, Read& out) {
  while (!bytes.empty()) {
    auto r = reader.next(bytes);
    if (!r) {
      out.error = r.error().text();
      return;
    }
    if (!*r) {
      EXPECT_TRUE(bytes.empty());
      return;
    }
    for (size_t i = (*r)->size(); i < (*r)->allocated(); ++i) EXPECT_EQ((*r)->data()[i], '\0');
    EXPECT_EQ((*r)->allocated(), (*r)->size() + 64);
    out.records.emplace_back((*r)->text());
  }
}
Read read_all(std::string_view bytes, uint64_t limit = RecordIoReader::kDefaultLimit) {
  RecordIoReader reader(limit);
  Read out;
  feed(reader, bytes, out);
  return out;
}

const std::vector<std::string> kSome = {R"({"type":"HEARTBEAT"})", "", "x", std::string(300, 'y'), "1\n2\n3\n"};

TEST(RecordIo, ReadsRecordsFromOnePiece) {
  auto got = read_all(framed(kSome));
  EXPECT_EQ(got.records, kSome);
  EXPECT_EQ(got.error, "");
}

TEST(RecordIo, SplitAtEveryByteAndAtEveryPairOfBytes) {
  std::string all = framed(kSome);
  for (size_t i = 0; i <= all.size(); ++i) {
    for (size_t j = i; j <= all.size(); j += 7) {
      RecordIoReader reader;
      Read out;
      std::string_view text = all;
      feed(reader, text.substr(0, i), out);
      feed(reader, text.substr(i, j - i), out);
      feed(reader, text.substr(j), out);
      ASSERT_EQ(out.records, kSome) << "split at " << i << " and " << j;
      ASSERT_FALSE(reader.mid_record());
      ASSERT_EQ(reader.offset(), all.size());
    }
  }
}

TEST(RecordIo, OneByteAtATime) {
  std::string all = framed(kSome);
  RecordIoReader reader;
  Read out;
  for (char c : all) feed(reader, {&c, 1}, out);
  EXPECT_EQ(out.records, kSome);
}

TEST(RecordIo, TruncationAtEveryByteGivesNoPartOfARecord) {
  std::vector<std::string> records = {"abc", "defgh"};
  std::string all = framed(records);  // 2+3+2+5
  for (size_t n = 0; n <= all.size(); ++n) {
    RecordIoReader reader;
    Read out;
    feed(reader, std::string_view(all).substr(0, n), out);
    EXPECT_EQ(out.error, "");
    EXPECT_EQ(out.records.size(), n >= all.size() ? 2u : n >= 5 ? 1u : 0u) << n;
    EXPECT_EQ(reader.mid_record(), n != 0 && n != 5 && n != all.size()) << n;
    if (n > 5) {
      EXPECT_EQ(reader.record_offset(), n == all.size() ? all.size() : 5u);
    }
  }
}

TEST(RecordIo, BadLengths) {
  for (std::string bad : {"\n", "x\n", "-1\nx", "+1\nx", " 1\nx", "1 \nx", "1\r\nx", "0x1\nx", "1.0\nx", "1e1\nx", "\x80\n",
                          "123456789012345678901", "000000000000000000001\nx", "18446744073709551616\n",
                          "99999999999999999999\n"}) {
    auto got = read_all("3\nabc" + bad);
    EXPECT_EQ(got.records, std::vector<std::string>{"abc"});
    EXPECT_THAT(got.error, HasSubstr("record 1 at byte 5 of the stream")) << bad;
  }
  EXPECT_EQ(read_all("00000000000000000003\nabc").records, std::vector<std::string>{"abc"});  // 20 digits
}

TEST(RecordIo, LimitIsNamedAndExact) {
  EXPECT_EQ(read_all("5\nabcde", 5).error, "");
  auto got = read_all("6\n", 5);
  EXPECT_THAT(got.error, HasSubstr("its length 6 is above the limit of 5 bytes"));
  EXPECT_THAT(read_all("18446744073709551615\n").error, HasSubstr("above the limit of 2147483648 bytes"));
}

TEST(RecordIo, AnErrorStaysUntilReset) {
  RecordIoReader reader;
  std::string_view bad = "x";
  EXPECT_FALSE(reader.next(bad));
  std::string_view good = "1\na";
  EXPECT_FALSE(reader.next(good));
  reader.reset();
  good = "1\na";
  auto r = reader.next(good);
  ASSERT_TRUE(r && *r);
  EXPECT_EQ((*r)->text(), "a");
}

TEST(RecordIo, AnAnnouncedLengthCostsNothingBeforeTheBytesCome) {
  auto used = [] {
    auto m = ::mallinfo2();
    return m.uordblks + m.hblkhd;
  };
  size_t before = used();
  std::vector<RecordIoReader> readers(100);
  for (auto& r : readers) {
    std::string_view bytes = "2147483648\nabc";
    auto got = r.next(bytes);
    ASSERT_TRUE(got);
    ASSERT_FALSE(*got);
    ASSERT_TRUE(r.mid_record());
  }
  EXPECT_LT(used() - before, 100u * 128 * 1024);  // 200 GiB were announced
}

TEST(RecordIo, LargeRecordInOddPieces) {
  std::string large(5'000'000, '\0');
  std::mt19937 random(1);
  for (char& c : large) c = static_cast<char>(random());
  std::string all = framed({"a", large, "b"});
  RecordIoReader reader;
  Read out;
  for (size_t at = 0; at < all.size();) {
    size_t n = std::min<size_t>(1 + random() % 100'000, all.size() - at);
    feed(reader, std::string_view(all).substr(at, n), out);
    at += n;
  }
  ASSERT_EQ(out.records.size(), 3u);
  EXPECT_TRUE(out.records[1] == large);
  EXPECT_EQ(reader.records(), 3u);
}

TEST(RecordIo, MovedFromRecordIsEmpty) {
  auto a = PaddedRecord::copy_of("abc");
  auto b = std::move(a);
  EXPECT_EQ(b.text(), "abc");
  EXPECT_EQ(a.size(), 0u);  // NOLINT: that is what is tested
  EXPECT_EQ(a.allocated(), 0u);
}

}  // namespace
