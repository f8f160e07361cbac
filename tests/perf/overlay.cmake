# CPU per byte, packet and request through the overlay, against the static scheme of the original. Run by hand: overlay/run.py.
add_subdirectory(overlay)
