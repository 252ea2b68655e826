/**
 * Interfaces of this network namespace by rtnetlink: names, indexes, MACs, addresses, MTU.
 *
 * Read when the daemon starts, when it reads its configuration again, and when the kernel says that
 * something changed (interface-watch.ts). netlink 0.3.0 is pinned exactly: its attribute names are not
 * stable.
 */
import { createRtNetlink } from 'netlink'
import type { InterfaceAddress, NetworkInterface } from '../datapath/network-interface.js'
import { ipAddress } from '../lisp/address.js'

/** Rejects when the kernel does not answer within a second. */
export async function readInterfaces(): Promise<NetworkInterface[]> {
  const socket = createRtNetlink({
    ref: true,
    recvBufferSize: SOCKET_BUFFER_BYTES,
    sendBufferSize: SOCKET_BUFFER_BYTES,
  })
  try {
    const links = await socket.getLinks(undefined, undefined, { timeout: ANSWER_MS })
    const addresses = await socket.getAddresses(undefined, undefined, { timeout: ANSWER_MS })
    const byIndex = new Map<number, InterfaceAddress[]>()
    for (const { data, attrs } of addresses) {
      // On point-to-point links `address` is the peer's and `local` is ours.
      const bytes = attrs.local ?? attrs.address
      const index = data.index
      if (index === undefined || bytes === undefined) continue
      if (bytes.length !== 4 && bytes.length !== 16) continue
      const list = byIndex.get(index) ?? []
      const address = ipAddress(new Uint8Array(bytes))
      list.push({ address, maskLength: data.prefixlen ?? bytes.length * 8 })
      byIndex.set(index, list)
    }
    return links.flatMap(({ data, attrs }) => {
      const { index, flags } = data
      const { ifname, mtu } = attrs
      if (index === undefined || ifname === undefined) return []
      // Devices without Ethernet have none, or one of another length.
      const mac = attrs.address?.length === 6 ? new Uint8Array(attrs.address) : new Uint8Array(6)
      const leadsElsewhere = attrs.linkNetnsid !== undefined && isVeth(attrs.linkinfo)
      const found = { name: ifname, index, mac, mtu: mtu ?? 1500, leadsElsewhere }
      const down = flags?.up !== true || flags.running !== true
      return [{ ...found, down, addresses: byIndex.get(index) ?? [] }]
    })
  } finally {
    socket.socket.close()
  }
}

/** IFLA_LINKINFO as it came: its first attribute is the kind, a string with a zero behind it. */
function isVeth(info: Uint8Array | undefined): boolean {
  return info !== undefined && Buffer.from(info).includes(VETH_KIND)
}

/** The attribute IFLA_INFO_KIND (1) of 9 bytes, in the host's (little-endian) order. */
const VETH_KIND = Buffer.from([9, 0, 1, 0, ...Buffer.from('veth\0')])
const ANSWER_MS = 1_000
// A host with thousands of links answers with megabytes.
const SOCKET_BUFFER_BYTES = 1 << 20
