/**
 * EIDs and EID-prefixes as keys of BPF maps, and back.
 *
 * A host prefix (/32, /128) is the key of a hash, everything shorter the key of an LPM trie in
 * which instance-ID and address family always count in full: that keeps tenants and families
 * apart.
 */
import type { IpAddress, IpFamily } from '../lisp/address.js'
import type { Eid, EidPrefix } from '../lisp/eid.js'
import {
  type BpfEidKey,
  decodeBpfEidKey,
  decodeBpfEidPrefixKey,
  encodeBpfEidKey,
  encodeBpfEidPrefixKey,
} from './abi.generated.js'

/** Key of the `*_hosts` maps and of the hold; 20 bytes. */
export function eidKey(eid: Eid): Uint8Array {
  return encodeBpfEidKey(bpfEid(eid))
}

/** Key of the `*_prefixes` maps; 24 bytes. */
export function eidPrefixKey(prefix: EidPrefix): Uint8Array {
  return encodeBpfEidPrefixKey({
    prefixBits: INSTANCE_AND_FAMILY_BITS + prefix.maskLength,
    eid: bpfEid(prefix),
  })
}

/** The EID of a hash key, or undefined when its family is neither 4 nor 6. */
export function eidOfKey(key: Uint8Array, at = 0): Eid | undefined {
  return eidOf(decodeBpfEidKey(key, at))
}

/** The EID-prefix of an LPM key, or undefined when its family or length is impossible. */
export function eidPrefixOfKey(key: Uint8Array, at = 0): EidPrefix | undefined {
  const { prefixBits, eid } = decodeBpfEidPrefixKey(key, at)
  const parsed = eidOf(eid)
  const maskLength = prefixBits - INSTANCE_AND_FAMILY_BITS
  if (parsed === undefined || maskLength < 0) return undefined
  return maskLength > parsed.address.bytes.length * 8 ? undefined : { ...parsed, maskLength }
}

export function eidOf(key: BpfEidKey): Eid | undefined {
  const address = addressOf(key.instanceFamily & 0xff, key.address)
  return address && { instanceId: key.instanceFamily >>> 8, address }
}

/** `family` other than 4 and 6 gives undefined; `bytes` are the 16 of a BPF struct. */
export function addressOf(family: number, bytes: Uint8Array): IpAddress | undefined {
  if (family !== 4 && family !== 6) return undefined
  return { family: family as IpFamily, bytes: bytes.slice(0, family === 4 ? 4 : 16) }
}

/**
 * Inner source address of an IP packet given from its IP header; undefined when it is cut short.
 */
export function sourceOfPacket(head: Uint8Array): IpAddress | undefined {
  const version = (head[0] ?? 0) >> 4
  if (version === 4 && head.length >= 20) return { family: 4, bytes: head.slice(12, 16) }
  if (version === 6 && head.length >= 40) return { family: 6, bytes: head.slice(8, 24) }
  return undefined
}

/** Bytes as a Map key: equal texts mean equal bytes. */
export function keyText(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes)
}

function bpfEid(eid: Eid): BpfEidKey {
  return {
    // `>>> 0`: instance-IDs from 0x800000 up would otherwise come out negative.
    instanceFamily: ((eid.instanceId << 8) | eid.address.family) >>> 0,
    address: eid.address.bytes,
  }
}

const INSTANCE_AND_FAMILY_BITS = 32
