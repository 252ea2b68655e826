/**
 * From a frame to the IP packet in it: Ethernet with VLAN tags, Linux cooked captures (both
 * versions), raw IP, BSD loopback. Everything that is not IP, and every other link type, is no
 * packet of ours and no fault.
 */
import { LINK_TYPE } from './captured-frame.js'
import type { LayerFault } from './ip-packet.js'

export type NetworkLayer =
  | { readonly kind: 'ip'; readonly offset: number }
  | { readonly kind: 'other'; readonly why: 'link-type' | 'not-ip' }
  | LayerFault

/** Where the IP header of a frame begins. */
export function networkLayer(linkType: number, bytes: Uint8Array): NetworkLayer {
  switch (linkType) {
    case LINK_TYPE.ethernet:
      return ethernet(bytes)
    case LINK_TYPE.linuxCooked:
      return byEtherType(bytes, 14, 16, 'Linux cooked header')
    case LINK_TYPE.linuxCooked2:
      return byEtherType(bytes, 0, 20, 'Linux cooked header')
    case LINK_TYPE.raw:
    case LINK_TYPE.rawBsd:
    case LINK_TYPE.rawOpenBsd:
    case LINK_TYPE.ipv4:
    case LINK_TYPE.ipv6:
      return { kind: 'ip', offset: 0 }
    case LINK_TYPE.loopback:
    case LINK_TYPE.loop:
      return loopback(bytes)
    default:
      return { kind: 'other', why: 'link-type' }
  }
}

const ETHER_TYPE = { ipv4: 0x0800, ipv6: 0x86dd } as const
/** 802.1Q, 802.1ad, and what was used before it. */
const VLAN_TYPES: ReadonlySet<number> = new Set([0x8100, 0x88a8, 0x9100])
// Choice: two are common; more than four is a mistake somewhere.
const MAX_VLAN_TAGS = 4

const NOT_IP = { kind: 'other', why: 'not-ip' } as const

function ethernet(bytes: Uint8Array): NetworkLayer {
  let at = 12
  for (let tags = 0; tags < MAX_VLAN_TAGS; tags += 1) {
    if (bytes.length < at + 2 || !VLAN_TYPES.has(u16(bytes, at))) break
    at += 4
  }
  return byEtherType(bytes, at, at + 2, 'Ethernet header')
}

function byEtherType(
  bytes: Uint8Array,
  typeAt: number,
  headerBytes: number,
  field: string,
): NetworkLayer {
  if (bytes.length < headerBytes) {
    return { kind: 'fault', code: 'truncated', offset: bytes.length, field }
  }
  const type = u16(bytes, typeAt)
  const isIp = type === ETHER_TYPE.ipv4 || type === ETHER_TYPE.ipv6
  return isIp ? { kind: 'ip', offset: headerBytes } : NOT_IP
}

/** Four bytes of address family in the byte order of whoever captured; values differ by system. */
function loopback(bytes: Uint8Array): NetworkLayer {
  if (bytes.length < 4) {
    return { kind: 'fault', code: 'truncated', offset: bytes.length, field: 'loopback header' }
  }
  const family = bytes[0] === 0 ? bytes[3]! : bytes[0]!
  return LOOPBACK_FAMILIES.has(family) ? { kind: 'ip', offset: 4 } : NOT_IP
}

/** AF_INET, and AF_INET6 of NetBSD and Linux, FreeBSD, macOS. */
const LOOPBACK_FAMILIES: ReadonlySet<number> = new Set([2, 10, 24, 28, 30])

function u16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!
}
