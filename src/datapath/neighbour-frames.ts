/**
 * Ethernet frames of ARP (RFC 826, RFC 5227) and Neighbor Discovery (RFC 4861) that the gateway
 * sends on a site's segment: "this EID is behind me now" and "who has this EID".
 *
 * Only builds bytes. Receiving, and answering for EIDs that are elsewhere, is done by the datapath.
 */
import type { IpAddress, MacAddress } from '../lisp/address.js'
import { writeIcmpChecksum } from './internet-checksum.js'

/**
 * Gratuitous ARP (an ARP announcement: request, sender = target) or unsolicited NA to all nodes.
 */
export function announcementFrame(address: IpAddress, mac: MacAddress): Uint8Array {
  if (address.family === 4) return arpRequest(mac, address.bytes, address.bytes)
  const frame = neighbourFrame({
    mac,
    destinationMac: Uint8Array.of(0x33, 0x33, 0, 0, 0, 1),
    source: address.bytes,
    destination: ALL_NODES,
    icmpType: NEIGHBOR_ADVERTISEMENT,
    // Override set: caches shall change; Solicited and Router clear (RFC 4861 §4.4, §7.2.6).
    flags: 0x20,
    target: address.bytes,
    option: TARGET_LINK_LAYER_ADDRESS,
  })
  return frame
}

/**
 * ARP request or Neighbor Solicitation for `target`. `source` is an address of our own of the same
 * family; 0.0.0.0 makes an ARP probe (RFC 5227), `::` is not used (it would look like DAD).
 */
export function solicitationFrame(
  target: IpAddress,
  source: IpAddress,
  mac: MacAddress,
): Uint8Array {
  if (target.family === 4) return arpRequest(mac, source.bytes, target.bytes)
  const last = target.bytes.subarray(13)
  const solicitedNode = new Uint8Array(16)
  solicitedNode.set([0xff, 0x02])
  solicitedNode.set([1, 0xff, ...last], 11)
  const fields = { destinationMac: Uint8Array.of(0x33, 0x33, 0xff, ...last) }
  return neighbourFrame({
    ...fields,
    mac,
    source: source.bytes,
    destination: solicitedNode,
    icmpType: NEIGHBOR_SOLICITATION,
    flags: 0,
    target: target.bytes,
    option: SOURCE_LINK_LAYER_ADDRESS,
  })
}

function arpRequest(mac: MacAddress, sender: Uint8Array, target: Uint8Array): Uint8Array {
  const frame = new Uint8Array(60)
  frame.fill(0xff, 0, 6)
  frame.set(mac, 6)
  // Ethernet, IPv4, address lengths 6 and 4, operation 1 = request.
  frame.set([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1], 12)
  frame.set(mac, 22)
  frame.set(sender, 28)
  frame.set(target, 38)
  return frame
}

function neighbourFrame(fields: {
  mac: MacAddress
  destinationMac: Uint8Array
  source: Uint8Array
  destination: Uint8Array
  icmpType: number
  flags: number
  target: Uint8Array
  option: number
}): Uint8Array {
  const frame = new Uint8Array(14 + 40 + 32)
  frame.set(fields.destinationMac, 0)
  frame.set(fields.mac, 6)
  frame.set([0x86, 0xdd], 12)
  // Version 6, payload of 32 bytes, ICMPv6; hop limit 255 is what ND demands (RFC 4861 §7.1).
  frame.set([0x60, 0, 0, 0, 0, 32, 58, 255], 14)
  frame.set(fields.source, 22)
  frame.set(fields.destination, 38)
  frame.set([fields.icmpType, 0, 0, 0, fields.flags], 54)
  frame.set(fields.target, 62)
  frame.set([fields.option, 1], 78)
  frame.set(fields.mac, 80)
  writeIcmpChecksum(frame.subarray(54), {
    source: fields.source,
    destination: fields.destination,
  })
  return frame
}

const ALL_NODES = Uint8Array.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)
const NEIGHBOR_SOLICITATION = 135
const NEIGHBOR_ADVERTISEMENT = 136
const SOURCE_LINK_LAYER_ADDRESS = 1
const TARGET_LINK_LAYER_ADDRESS = 2
