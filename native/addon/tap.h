/*
 * The device of the hold: a persistent TAP that keeps super-packets and partial checksums as they
 * are (IFF_VNET_HDR and all offloads), with a long queue, in which the kernel itself says nothing.
 */
#ifndef TAP_H
#define TAP_H

#include <stdint.h>

enum {
	TAP_NAME_BYTES = 16,
	/* struct virtio_net_hdr without num_buffers: what precedes every frame. */
	TAP_VNET_HEADER_BYTES = 10,
};

/*
 * Open `name`, made when absent, configured and up. 0 and a non-blocking descriptor, or errno with
 * `*step` naming what failed. EBUSY: another process has it open.
 */
int tap_open(const char *name, int *descriptor, uint32_t *interface_index, const char **step);
/* Let the device go with its last descriptor. */
void tap_remove(int descriptor);

#endif
