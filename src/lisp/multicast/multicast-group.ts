/**
 * (S,G) and (*,G): the name under which receivers register and sources are replicated (RFC 8378 §5.1.2).
 *
 * A source of `undefined` is "any": (*,G), registered as (0/0,G) (RFC 8378 §8). The instance-ID is part
 * of the name, so that the same group in two instances is two groups. On the wire the name is an LCAF of
 * type 9 (RFC 8060 §4.7). This file has no opinion on who may join what.
 */
import {
  addressBits,
  equalIpAddresses,
  formatIpAddress,
  type IpAddress,
  isMulticast,
  isUnspecified,
  parseIpAddress,
} from '../address.js'
import type { AfiAddress, MulticastInfo } from '../afi-address.js'

/** Source and group are of one family; the group is a multicast address. */
export interface MulticastGroup {
  /** 0–2^24-1. */
  readonly instanceId: number
  /** Undefined: any source. */
  readonly source: IpAddress | undefined
  readonly group: IpAddress
}

/** `[7](10.1.0.5,232.1.1.1)`, `(*,ff3e::1)`; equal groups have equal text. */
export function formatGroup({ instanceId, source, group }: MulticastGroup): string {
  const instance = instanceId === 0 ? '' : `[${instanceId}]`
  const from = source === undefined ? '*' : formatIpAddress(source)
  return `${instance}(${from},${formatIpAddress(group)})`
}

/** What `formatGroup` has written; undefined for any other text. */
export function parseGroup(text: string): MulticastGroup | undefined {
  const found = GROUP_TEXT.exec(text)
  if (found === null) return undefined
  const [, instance, from, to] = found
  const source = from === '*' ? undefined : parseIpAddress(from!)
  const group = parseIpAddress(to!)
  if (group === undefined || (from !== '*' && source === undefined)) return undefined
  return checked({ instanceId: Number(instance ?? 0), source, group })
}

const GROUP_TEXT = /^(?:\[(\d{1,8})\])?\(([^,]+),([^)]+)\)$/
const MAXIMUM_INSTANCE_ID = 0xff_ff_ff

/** The same group for any source. */
export function anySource({ instanceId, group }: MulticastGroup): MulticastGroup {
  return { instanceId, source: undefined, group }
}

export function equalGroups(a: MulticastGroup, b: MulticastGroup): boolean {
  return (
    a.instanceId === b.instanceId &&
    equalIpAddresses(a.group, b.group) &&
    (a.source === undefined || b.source === undefined
      ? a.source === b.source
      : equalIpAddresses(a.source, b.source))
  )
}

/**
 * Whether the group never leaves its link: 224.0.0.0/24, and IPv6 scopes 0 to 2 (RFC 5771 §4, RFC 4291
 * §2.7). Such groups are neither registered nor replicated.
 */
export function isLinkScoped(group: IpAddress): boolean {
  const { bytes } = group
  if (group.family === 4) return bytes[0] === 224 && bytes[1] === 0 && bytes[2] === 0
  return (bytes[1]! & 0x0f) <= 2
}

/** RFC 8060 §4.7, with mask lengths of whole addresses; any source is 0/0 of the group's family. */
export function groupAddress({ instanceId, source, group }: MulticastGroup): MulticastInfo {
  const bits = addressBits(group.family)
  const any = { family: group.family, bytes: new Uint8Array(bits / 8) } as IpAddress
  return {
    kind: 'multicast-info',
    instanceId,
    sourceMaskLength: source === undefined ? 0 : bits,
    groupMaskLength: bits,
    source: { kind: 'ip', address: source ?? any },
    group: { kind: 'ip', address: group },
  }
}

/**
 * The group that an LCAF of type 9 names; undefined for ranges of sources or groups (which nothing here
 * registers), for a group that is no multicast address or link-scoped, and for mixed families.
 */
export function groupOf(address: AfiAddress): MulticastGroup | undefined {
  if (address.kind !== 'multicast-info' || address.group.kind !== 'ip') return undefined
  const group = address.group.address
  const bits = addressBits(group.family)
  if (address.groupMaskLength !== bits) return undefined
  const isAny = address.sourceMaskLength === 0 || address.source.kind === 'none'
  if (isAny) return checked({ instanceId: address.instanceId, source: undefined, group })
  if (address.source.kind !== 'ip' || address.sourceMaskLength !== bits) return undefined
  return checked({ instanceId: address.instanceId, source: address.source.address, group })
}

function checked(name: MulticastGroup): MulticastGroup | undefined {
  const { instanceId, source, group } = name
  if (instanceId > MAXIMUM_INSTANCE_ID || !isMulticast(group) || isLinkScoped(group))
    return undefined
  if (source === undefined) return name
  const isHost = source.family === group.family && !isMulticast(source) && !isUnspecified(source)
  return isHost ? name : undefined
}
