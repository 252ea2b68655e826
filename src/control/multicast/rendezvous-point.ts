/**
 * Which rendezvous point a group has: the one that is written in an IPv6 group address (RFC 3956), else the
 * configured one of the longest prefix. Groups of SSM have none (RFC 4607 §1).
 */
import { type IpAddress, ipAddress } from '../../lisp/address.js'
import { coversEid, type EidPrefix } from '../../lisp/eid.js'

export interface ConfiguredRendezvousPoint {
  /** Of any instance: its instance-ID is 0. */
  readonly groups: EidPrefix
  readonly address: IpAddress
}

/** The root of the shared tree of a group; undefined: none is known, or the group is of SSM. */
export function rendezvousPointOf(
  configured: readonly ConfiguredRendezvousPoint[],
  group: IpAddress,
): IpAddress | undefined {
  if (isSourceSpecific(group)) return undefined
  const embedded = embeddedRendezvousPoint(group)
  if (embedded !== undefined) return embedded
  let best: ConfiguredRendezvousPoint | undefined
  for (const one of configured) {
    if (!coversEid(one.groups, { instanceId: 0, address: group })) continue
    if (best === undefined || one.groups.maskLength > best.groups.maskLength) best = one
  }
  return best?.address
}

/**
 * RFC 3956 §4: FF7x:0RPL:prefix…:group with R, P and T set; the address is the first `plen` bits of the
 * prefix and RIID in its last four. Undefined without these flags, or for a plen of 0 or above 64, or
 * an RIID of 0.
 */
export function embeddedRendezvousPoint({ family, bytes }: IpAddress): IpAddress | undefined {
  if (family !== 6 || bytes[0] !== 0xff || (bytes[1]! & 0xf0) !== RENDEZVOUS_FLAGS) return undefined
  const interfaceId = bytes[2]! & 0x0f
  const prefixBits = bytes[3]!
  if (interfaceId === 0 || prefixBits === 0 || prefixBits > 64) return undefined
  const address = new Uint8Array(16)
  for (let bit = 0; bit < prefixBits; bit += 1) {
    const at = bit >> 3
    address[at] = address[at]! | (bytes[4 + at]! & (0x80 >> (bit & 7)))
  }
  address[15] = interfaceId
  return ipAddress(address)
}

/** 232/8 and FF3x::/32 (RFC 4607 §1). */
export function isSourceSpecific({ family, bytes }: IpAddress): boolean {
  if (family === 4) return bytes[0] === 232
  return bytes[0] === 0xff && (bytes[1]! & 0xf0) === 0x30 && bytes[2] === 0 && bytes[3] === 0
}

/** R, P and T. */
const RENDEZVOUS_FLAGS = 0x70
