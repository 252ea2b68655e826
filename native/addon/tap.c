/* See tap.h. */
#define _GNU_SOURCE
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	QUEUE_PACKETS = 20000, /* measured: the default of 500 overflows within 4 ms at 139 kpps */
	MTU = 65521,           /* the most that a TAP allows: jumbo frames must fit as they are */
	OFFLOAD_USO = 0x20 | 0x40, /* TUN_F_USO4 | TUN_F_USO6 of Linux 6.2; older headers lack them */
};

/* The kernel must send nothing of its own into the hold (router solicitations, MLD reports), and not
 * refuse what leaves it for its own routing. */
static void silence(const char *name)
{
	static const struct {
		const char *path;
		char value;
	} settings[] = {
		{ "/proc/sys/net/ipv6/conf/%s/disable_ipv6", '1' },
		{ "/proc/sys/net/ipv4/conf/%s/rp_filter", '0' },
	};
	char path[128];
	int file;

	for (size_t i = 0; i < sizeof(settings) / sizeof(*settings); i++) {
		snprintf(path, sizeof(path), settings[i].path, name);
		file = open(path, O_WRONLY | O_CLOEXEC);
		if (file < 0)
			continue; /* a kernel without IPv6 has nothing to silence */
		if (write(file, &settings[i].value, 1) != 1)
			errno = 0;
		close(file);
	}
}

static int set_interface(const char *name, uint32_t *interface_index, const char **step)
{
	int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = { 0 };
	int error = 0;

	if (control < 0)
		return errno;
	strncpy(request.ifr_name, name, IFNAMSIZ - 1);
	*step = "read the interface index";
	if (ioctl(control, SIOCGIFINDEX, &request))
		goto failed;
	*interface_index = (uint32_t)request.ifr_ifindex;
	*step = "set the queue length";
	request.ifr_qlen = QUEUE_PACKETS;
	if (ioctl(control, SIOCSIFTXQLEN, &request))
		goto failed;
	*step = "set the MTU";
	request.ifr_mtu = MTU;
	if (ioctl(control, SIOCSIFMTU, &request))
		goto failed;
	silence(name);
	*step = "set the interface up";
	if (ioctl(control, SIOCGIFFLAGS, &request))
		goto failed;
	request.ifr_flags |= IFF_UP;
	if (ioctl(control, SIOCSIFFLAGS, &request))
		goto failed;
	close(control);
	return 0;
failed:
	error = errno;
	close(control);
	return error;
}

int tap_open(const char *name, int *descriptor, uint32_t *interface_index, const char **step)
{
	unsigned int offload = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
	int tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	int header = TAP_VNET_HEADER_BYTES;
	struct ifreq request = { 0 };
	int error;

	*step = "open /dev/net/tun";
	if (tap < 0)
		return errno;
	strncpy(request.ifr_name, name, IFNAMSIZ - 1);
	request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	*step = "attach to the device";
	if (ioctl(tap, TUNSETIFF, &request) || ioctl(tap, TUNSETPERSIST, 1) ||
	    ioctl(tap, TUNSETVNETHDRSZ, &header))
		goto failed;
	*step = "set the offloads";
	/* Without USO the kernel segments UDP super-packets before it queues them: slower, not lost. */
	if (ioctl(tap, TUNSETOFFLOAD, offload | OFFLOAD_USO) && ioctl(tap, TUNSETOFFLOAD, offload))
		goto failed;
	error = set_interface(name, interface_index, step);
	if (!error) {
		*descriptor = tap;
		return 0;
	}
	close(tap);
	return error;
failed:
	error = errno;
	close(tap);
	return error;
}

void tap_remove(int descriptor)
{
	ioctl(descriptor, TUNSETPERSIST, 0);
}
