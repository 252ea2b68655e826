/*
 * Splits an IPv4 packet in two, for packets without DF that do not fit the tunnel (RFC 9300 §7.1,
 * fragmentation as in RFC 791 §2.3 and §3.2).
 *
 * Frames are as the hold's device gives them: virtio_net_hdr, 14 bytes, the packet. A transport
 * checksum that the sender left to the hardware is filled in first: it covers both halves.
 */
#ifndef FRAGMENT_H
#define FRAGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * `frame` becomes the first half, `second` (as large as the frame) the other. False when it is no
 * sound IPv4 packet, says DF, is a super-packet or has nothing to split; then `frame` is untouched.
 */
bool fragment_split(uint8_t *frame, size_t *length, uint8_t *second, size_t *second_length);

#endif
