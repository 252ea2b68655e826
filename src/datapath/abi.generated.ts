/**
 * Layouts and numbers shared with the BPF programs. Generated from native/bpf/lisp_abi.h by
 * scripts/generate-abi.ts: do not edit. Host order is little-endian.
 */

/** LISP_ABI_VERSION. */
export const ABI_VERSION = 4

/** enum lisp_limits */
export const LIMITS = {
  'maximum-locators': 8,
  'locator-buckets': 64,
  'event-head-bytes': 192,
  'maximum-copies': 256,
  'maximum-group-interfaces': 64,
  'copy-sets': 32,
  'hold-gates': 65536,
} as const
export type BpfLimitsName = keyof typeof LIMITS

/** enum lisp_map_cache_action */
export const MAP_CACHE_ACTION = {
  'none': 0,
  'forward': 1,
  'draining': 2,
  'native': 3,
  'drop': 4,
  'hold': 5,
  'native-draining': 6,
} as const
export type BpfMapCacheActionName = keyof typeof MAP_CACHE_ACTION

/** enum lisp_locator_flags */
export const LOCATOR_FLAGS = {
  'gpe': 1,
  'closed': 2,
  'group': 4,
} as const
export type BpfLocatorFlagsName = keyof typeof LOCATOR_FLAGS

/** enum lisp_local_eid_state */
export const LOCAL_EID_STATE = {
  'none': 0,
  'local': 1,
  'standby': 2,
  'draining': 3,
  'away': 4,
  'prefix': 5,
  'away-draining': 6,
} as const
export type BpfLocalEidStateName = keyof typeof LOCAL_EID_STATE

/** enum lisp_local_eid_flags */
export const LOCAL_EID_FLAGS = {
  'mac-known': 1,
  'report-senders': 2,
  'no-proxy': 4,
  'moving': 8,
} as const
export type BpfLocalEidFlagsName = keyof typeof LOCAL_EID_FLAGS

/** enum lisp_stamps */
export const STAMPS = {
  'stamp-shift': 16,
  'stamp-mask': 1048575,
  'kind-shift': 22,
  'kind-plain': 0,
  'kind-copy': 1,
  'kind-redirect': 2,
} as const
export type BpfStampsName = keyof typeof STAMPS

/** enum lisp_move_role */
export const MOVE_ROLE = {
  'source': 1,
  'destination': 2,
} as const
export type BpfMoveRoleName = keyof typeof MOVE_ROLE

/** enum lisp_move_flags */
export const MOVE_FLAGS = {
  'pass-on': 1,
  'has-cut': 2,
  'drop-copies': 4,
} as const
export type BpfMoveFlagsName = keyof typeof MOVE_FLAGS

/** enum lisp_site_interface_flags */
export const SITE_INTERFACE_FLAGS = {
  'dynamic-eids': 1,
  'proxy-neighbours': 2,
  'peer': 4,
  'proxy': 8,
} as const
export type BpfSiteInterfaceFlagsName = keyof typeof SITE_INTERFACE_FLAGS

/** enum lisp_node_flags */
export const NODE_FLAGS = {
  'check-sources': 1,
  'settled': 2,
  'petr': 4,
  'rtr': 8,
  'nat': 16,
  'multicast': 32,
  'echo-nonce': 256,
  'map-versions': 512,
  'status-bits': 1024,
  'glean': 2048,
  'closed': 3841,
} as const
export type BpfNodeFlagsName = keyof typeof NODE_FLAGS

/** enum lisp_mapping_facts_flags */
export const MAPPING_FACTS_FLAGS = {
  'version': 1,
  'status-bits': 2,
  'drop-stale': 4,
} as const
export type BpfMappingFactsFlagsName = keyof typeof MAPPING_FACTS_FLAGS

/** enum lisp_hold_purpose */
export const HOLD_PURPOSE = {
  'map-cache-miss': 1,
  'endpoint-expected': 2,
  'fragment': 3,
} as const
export type BpfHoldPurposeName = keyof typeof HOLD_PURPOSE

/** enum lisp_event_type */
export const EVENT_TYPE = {
  'local-eid-seen': 1,
  'mac-seen': 2,
  'away-eid-hit': 3,
  'sender-seen': 4,
  'eid-wanted': 5,
  'unknown-eid': 7,
  'packet-too-big': 6,
  'nonce-echoed': 16,
  'nonce-missed': 17,
  'source-doubted': 18,
  'status-bits': 19,
  'stale-version': 20,
  'source-unmapped': 21,
  'group-source-seen': 22,
  'path-too-narrow': 23,
} as const
export type BpfEventTypeName = keyof typeof EVENT_TYPE

/** enum lisp_doubt */
export const DOUBT = {
  'rloc': 0,
  'version': 1,
} as const
export type BpfDoubtName = keyof typeof DOUBT

/** enum lisp_seen_by */
export const SEEN_BY = {
  'packet': 0,
  'arp': 1,
  'neighbour-advertisement': 2,
} as const
export type BpfSeenByName = keyof typeof SEEN_BY

/** enum lisp_drop_reason */
export const DROP_REASON = {
  'none': 0,
  'malformed-inner': 1,
  'malformed-outer': 2,
  'unknown-instance': 3,
  'unknown-eid': 4,
  'ecn-not-ect-marked': 5,
  'ttl-expired': 6,
  'packet-too-big': 7,
  'no-locator': 8,
  'no-hold': 9,
  'mapping-says-drop': 10,
  'no-route-to-rloc': 11,
  'encapsulation-failed': 12,
  'decapsulation-failed': 13,
  'away-unmapped': 14,
  'nested': 15,
  'spoofed-source': 16,
  'hold-header': 17,
  'no-site-interface': 18,
  'unsupported-gpe': 19,
  'loop': 20,
  'unproxied-source': 21,
  'native-at-rtr': 22,
  'untranslatable': 23,
  'null-map-version': 24,
  'future-map-version': 25,
  'stale-map-version': 26,
  'seen-at-source': 27,
  'copy-rate-limited': 28,
  'copy-failed': 29,
  'unknown-group': 30,
  'group-scope': 31,
  'own-source': 32,
  'group-copy-too-big': 33,
  'group-copy-failed': 34,
  'reverse-path': 35,
  'too-big-for-route': 36,
} as const
export type BpfDropReasonName = keyof typeof DROP_REASON

/** enum lisp_tally */
export const TALLY = {
  'encapsulated': 0,
  'decapsulated': 1,
  'reencapsulated': 2,
  'held': 3,
  'native': 4,
  'proxied-neighbour': 5,
  'ecn-corrected': 6,
  'event-lost': 7,
  'fragmented': 8,
  'proxied': 9,
  'translated': 10,
  'copied': 11,
  'replicated': 12,
  'group-copy': 13,
  'group-delivered': 14,
  'foreign-group-source': 15,
  'path-too-narrow': 16,
} as const
export type BpfTallyName = keyof typeof TALLY

/** struct lisp_eid_key, 20 bytes */
export interface BpfEidKey {
  readonly instanceFamily: number
  readonly address: Uint8Array
}
export const EID_KEY_BYTES = 20
export const EID_KEY_OFFSETS = { instanceFamily: 0, address: 4 } as const
export function writeBpfEidKey(view: DataView, at: number, value: BpfEidKey): void {
  view.setUint32(at + 0, value.instanceFamily, false)
  writeBytes(view, at + 4, value.address, 16)
}
export function encodeBpfEidKey(value: BpfEidKey): Uint8Array {
  const bytes = new Uint8Array(20)
  writeBpfEidKey(viewOf(bytes), 0, value)
  return bytes
}
export function decodeBpfEidKey(bytes: Uint8Array, at = 0): BpfEidKey {
  const view = viewOf(bytes)
  return {
    instanceFamily: view.getUint32(at + 0, false),
    address: copyOf(bytes, at + 4, 16),
  }
}

/** struct lisp_eid_prefix_key, 24 bytes */
export interface BpfEidPrefixKey {
  readonly prefixBits: number
  readonly eid: BpfEidKey
}
export const EID_PREFIX_KEY_BYTES = 24
export const EID_PREFIX_KEY_OFFSETS = { prefixBits: 0, eid: 4 } as const
export function writeBpfEidPrefixKey(view: DataView, at: number, value: BpfEidPrefixKey): void {
  view.setUint32(at + 0, value.prefixBits, true)
  writeBpfEidKey(view, at + 4, value.eid)
}
export function encodeBpfEidPrefixKey(value: BpfEidPrefixKey): Uint8Array {
  const bytes = new Uint8Array(24)
  writeBpfEidPrefixKey(viewOf(bytes), 0, value)
  return bytes
}
export function decodeBpfEidPrefixKey(bytes: Uint8Array, at = 0): BpfEidPrefixKey {
  const view = viewOf(bytes)
  return {
    prefixBits: view.getUint32(at + 0, true),
    eid: decodeBpfEidKey(bytes, at + 4),
  }
}

/** struct lisp_map_cache_entry, 16 bytes */
export interface BpfMapCacheEntry {
  readonly counterId: number
  readonly locatorSetId: number
  readonly action: number
}
export const MAP_CACHE_ENTRY_BYTES = 16
export const MAP_CACHE_ENTRY_OFFSETS = { counterId: 0, locatorSetId: 4, action: 8, reserved: 9 } as const
export function writeBpfMapCacheEntry(view: DataView, at: number, value: BpfMapCacheEntry): void {
  view.setUint32(at + 0, value.counterId, true)
  view.setUint32(at + 4, value.locatorSetId, true)
  view.setUint8(at + 8, value.action)
}
export function encodeBpfMapCacheEntry(value: BpfMapCacheEntry): Uint8Array {
  const bytes = new Uint8Array(16)
  writeBpfMapCacheEntry(viewOf(bytes), 0, value)
  return bytes
}
export function decodeBpfMapCacheEntry(bytes: Uint8Array, at = 0): BpfMapCacheEntry {
  const view = viewOf(bytes)
  return {
    counterId: view.getUint32(at + 0, true),
    locatorSetId: view.getUint32(at + 4, true),
    action: view.getUint8(at + 8),
  }
}

/** struct lisp_locator, 36 bytes */
export interface BpfLocator {
  readonly family: number
  readonly flags: number
  readonly pathMtu: number
  readonly source: Uint8Array
  readonly destination: Uint8Array
}
export const LOCATOR_BYTES = 36
export const LOCATOR_OFFSETS = { family: 0, flags: 1, pathMtu: 2, source: 4, destination: 20 } as const
export function writeBpfLocator(view: DataView, at: number, value: BpfLocator): void {
  view.setUint8(at + 0, value.family)
  view.setUint8(at + 1, value.flags)
  view.setUint16(at + 2, value.pathMtu, true)
  writeBytes(view, at + 4, value.source, 16)
  writeBytes(view, at + 20, value.destination, 16)
}
export function encodeBpfLocator(value: BpfLocator): Uint8Array {
  const bytes = new Uint8Array(36)
  writeBpfLocator(viewOf(bytes), 0, value)
  return bytes
}
export function decodeBpfLocator(bytes: Uint8Array, at = 0): BpfLocator {
  const view = viewOf(bytes)
  return {
    family: view.getUint8(at + 0),
    flags: view.getUint8(at + 1),
    pathMtu: view.getUint16(at + 2, true),
    source: copyOf(bytes, at + 4, 16),
    destination: copyOf(bytes, at + 20, 16),
  }
}

/** struct lisp_locator_set, 356 bytes */
export interface BpfLocatorSet {
  readonly count: number
  readonly buckets: Uint8Array
  readonly locators: readonly BpfLocator[]
}
export const LOCATOR_SET_BYTES = 356
export const LOCATOR_SET_OFFSETS = { count: 0, reserved: 1, buckets: 4, locators: 68 } as const
export function writeBpfLocatorSet(view: DataView, at: number, value: BpfLocatorSet): void {
  view.setUint8(at + 0, value.count)
  writeBytes(view, at + 4, value.buckets, 64)
  writeArray(view, at + 68, 36, 8, value.locators, writeBpfLocator)
}
export function encodeBpfLocatorSet(value: BpfLocatorSet): Uint8Array {
  const bytes = new Uint8Array(356)
  writeBpfLocatorSet(viewOf(bytes), 0, value)
  return bytes
}
export function decodeBpfLocatorSet(bytes: Uint8Array, at = 0): BpfLocatorSet {
  const view = viewOf(bytes)
  return {
    count: view.getUint8(at + 0),
    buckets: copyOf(bytes, at + 4, 64),
    locators: readArray(bytes, at + 68, 36, 8, decodeBpfLocator),
  }
}

/** struct lisp_group_key, 36 bytes */
export interface BpfGroupKey {
  readonly instanceFamily: number
  readonly source: Uint8Array
  readonly group: Uint8Array
}
export const GROUP_KEY_BYTES = 36
export const GROUP_KEY_OFFSETS = { instanceFamily: 0, source: 4, group: 20 } as const
export function writeBpfGroupKey(view: DataView, at: number, value: BpfGroupKey): void {
  view.setUint32(at + 0, value.instanceFamily, false)
  writeBytes(view, at + 4, value.source, 16)
  writeBytes(view, at + 20, value.group, 16)
}
export function encodeBpfGroupKey(value: BpfGroupKey): Uint8Array {
  const bytes = new Uint8Array(36)
  writeBpfGroupKey(viewOf(bytes), 0, value)
  return bytes
}
export function decodeBpfGroupKey(bytes: Uint8Array, at = 0): BpfGroupKey {
  const view = viewOf(bytes)
  return {
    instanceFamily: view.getUint32(at + 0, false),
    source: copyOf(bytes, at + 4, 16),
    group: copyOf(bytes, at + 20, 16),
  }
}

/** struct lisp_replication, 396 bytes */
export interface BpfReplication {
  readonly counterId: number
  readonly copies: number
  readonly largest: number
  readonly level: number
  readonly interfaceCount: number
  readonly interfaces: readonly number[]
  readonly setIds: readonly number[]
}
export const REPLICATION_BYTES = 396
export const REPLICATION_OFFSETS = { counterId: 0, copies: 4, largest: 6, level: 8, interfaceCount: 9, reserved: 10, interfaces: 12, setIds: 268 } as const
export function writeBpfReplication(view: DataView, at: number, value: BpfReplication): void {
  view.setUint32(at + 0, value.counterId, true)
  view.setUint16(at + 4, value.copies, true)
  view.setUint16(at + 6, value.largest, true)
  view.setUint8(at + 8, value.level)
  view.setUint8(at + 9, value.interfaceCount)
  writeArray(view, at + 12, 4, 64, value.interfaces, writeWord)
  writeArray(view, at + 268, 4, 32, value.setIds, writeWord)
}
export function encodeBpfReplication(value: BpfReplication): Uint8Array {
  const bytes = new Uint8Array(396)
  writeBpfReplication(viewOf(bytes), 0, value)
  return bytes
}
export function decodeBpfReplication(bytes: Uint8Array, at = 0): BpfReplication {
  const view = viewOf(bytes)
  return {
    counterId: view.getUint32(at + 0, true),
    copies: view.getUint16(at + 4, true),
    largest: view.getUint16(at + 6, true),
    level: view.getUint8(at + 8),
    interfaceCount: view.getUint8(at + 9),
    interfaces: readArray(bytes, at + 12, 4, 64, readWord),
    setIds: readArray(bytes, at + 268, 4, 32, readWord),
  }
}

/** struct lisp_local_eid, 16 bytes */
export interface BpfLocalEid {
  readonly counterId: number
  readonly interfaceIndex: number
  readonly state: number
  readonly flags: number
  readonly mac: Uint8Array
}
export const LOCAL_EID_BYTES = 16
export const LOCAL_EID_OFFSETS = { counterId: 0, interfaceIndex: 4, state: 8, flags: 9, mac: 10 } as const
export function writeBpfLocalEid(view: DataView, at: number, value: BpfLocalEid): void {
  view.setUint32(at + 0, value.counterId, true)
  view.setUint32(at + 4, value.interfaceIndex, true)
  view.setUint8(at + 8, value.state)
  view.setUint8(at + 9, value.flags)
  writeBytes(view, at + 10, value.mac, 6)
}
export function encodeBpfLocalEid(value: BpfLocalEid): Uint8Array {
  const bytes = new Uint8Array(16)
  writeBpfLocalEid(viewOf(bytes), 0, value)
  return bytes
}
export function decodeBpfLocalEid(bytes: Uint8Array, at = 0): BpfLocalEid {
  const view = viewOf(bytes)
  return {
    counterId: view.getUint32(at + 0, true),
    interfaceIndex: view.getUint32(at + 4, true),
    state: view.getUint8(at + 8),
    flags: view.getUint8(at + 9),
    mac: copyOf(bytes, at + 10, 6),
  }
}

/** struct lisp_translation, 20 bytes */
export interface BpfTranslation {
  readonly address: Uint8Array
  readonly maskLength: number
}
export const TRANSLATION_BYTES = 20
export const TRANSLATION_OFFSETS = { address: 0, maskLength: 16 } as const
export function writeBpfTranslation(view: DataView, at: number, value: BpfTranslation): void {
  writeBytes(view, at + 0, value.address, 16)
  view.setUint32(at + 16, value.maskLength, true)
}
export function encodeBpfTranslation(value: BpfTranslation): Uint8Array {
  const bytes = new Uint8Array(20)
  writeBpfTranslation(viewOf(bytes), 0, value)
  return bytes
}
export function decodeBpfTranslation(bytes: Uint8Array, at = 0): BpfTranslation {
  const view = viewOf(bytes)
  return {
    address: copyOf(bytes, at + 0, 16),
    maskLength: view.getUint32(at + 16, true),
  }
}

/** struct lisp_move, 72 bytes */
export interface BpfMove {
  readonly untilNs: bigint
  readonly refilledNs: bigint
  readonly tokens: number
  readonly bytesPerMs: number
  readonly cut: number
  readonly role: number
  readonly flags: number
  readonly peer: BpfLocator
}
export const MOVE_BYTES = 72
export const MOVE_OFFSETS = { untilNs: 0, refilledNs: 8, tokens: 16, bytesPerMs: 20, cut: 24, role: 28, flags: 29, reserved: 30, peer: 32, reserved2: 68 } as const
export function writeBpfMove(view: DataView, at: number, value: BpfMove): void {
  view.setBigUint64(at + 0, value.untilNs, true)
  view.setBigUint64(at + 8, value.refilledNs, true)
  view.setUint32(at + 16, value.tokens, true)
  view.setUint32(at + 20, value.bytesPerMs, true)
  view.setUint32(at + 24, value.cut, true)
  view.setUint8(at + 28, value.role)
  view.setUint8(at + 29, value.flags)
  writeBpfLocator(view, at + 32, value.peer)
}
export function encodeBpfMove(value: BpfMove): Uint8Array {
  const bytes = new Uint8Array(72)
  writeBpfMove(viewOf(bytes), 0, value)
  return bytes
}
export function decodeBpfMove(bytes: Uint8Array, at = 0): BpfMove {
  const view = viewOf(bytes)
  return {
    untilNs: view.getBigUint64(at + 0, true),
    refilledNs: view.getBigUint64(at + 8, true),
    tokens: view.getUint32(at + 16, true),
    bytesPerMs: view.getUint32(at + 20, true),
    cut: view.getUint32(at + 24, true),
    role: view.getUint8(at + 28),
    flags: view.getUint8(at + 29),
    peer: decodeBpfLocator(bytes, at + 32),
  }
}

/** struct lisp_counter, 24 bytes */
export interface BpfCounter {
  readonly packets: bigint
  readonly bytes: bigint
  readonly lastUsedNs: bigint
}
export const COUNTER_BYTES = 24
export const COUNTER_OFFSETS = { packets: 0, bytes: 8, lastUsedNs: 16 } as const
export function writeBpfCounter(view: DataView, at: number, value: BpfCounter): void {
  view.setBigUint64(at + 0, value.packets, true)
  view.setBigUint64(at + 8, value.bytes, true)
  view.setBigUint64(at + 16, value.lastUsedNs, true)
}
export function encodeBpfCounter(value: BpfCounter): Uint8Array {
  const bytes = new Uint8Array(24)
  writeBpfCounter(viewOf(bytes), 0, value)
  return bytes
}
export function decodeBpfCounter(bytes: Uint8Array, at = 0): BpfCounter {
  const view = viewOf(bytes)
  return {
    packets: view.getBigUint64(at + 0, true),
    bytes: view.getBigUint64(at + 8, true),
    lastUsedNs: view.getBigUint64(at + 16, true),
  }
}

/** struct lisp_site_interface, 12 bytes */
export interface BpfSiteInterface {
  readonly instanceId: number
  readonly flags: number
  readonly mac: Uint8Array
}
export const SITE_INTERFACE_BYTES = 12
export const SITE_INTERFACE_OFFSETS = { instanceId: 0, flags: 4, mac: 5, reserved: 11 } as const
export function writeBpfSiteInterface(view: DataView, at: number, value: BpfSiteInterface): void {
  view.setUint32(at + 0, value.instanceId, true)
  view.setUint8(at + 4, value.flags)
  writeBytes(view, at + 5, value.mac, 6)
}
export function encodeBpfSiteInterface(value: BpfSiteInterface): Uint8Array {
  const bytes = new Uint8Array(12)
  writeBpfSiteInterface(viewOf(bytes), 0, value)
  return bytes
}
export function decodeBpfSiteInterface(bytes: Uint8Array, at = 0): BpfSiteInterface {
  const view = viewOf(bytes)
  return {
    instanceId: view.getUint32(at + 0, true),
    flags: view.getUint8(at + 4),
    mac: copyOf(bytes, at + 5, 6),
  }
}

/** struct lisp_rloc_key, 20 bytes */
export interface BpfRlocKey {
  readonly family: number
  readonly address: Uint8Array
}
export const RLOC_KEY_BYTES = 20
export const RLOC_KEY_OFFSETS = { family: 0, address: 4 } as const
export function writeBpfRlocKey(view: DataView, at: number, value: BpfRlocKey): void {
  view.setUint32(at + 0, value.family, true)
  writeBytes(view, at + 4, value.address, 16)
}
export function encodeBpfRlocKey(value: BpfRlocKey): Uint8Array {
  const bytes = new Uint8Array(20)
  writeBpfRlocKey(viewOf(bytes), 0, value)
  return bytes
}
export function decodeBpfRlocKey(bytes: Uint8Array, at = 0): BpfRlocKey {
  const view = viewOf(bytes)
  return {
    family: view.getUint32(at + 0, true),
    address: copyOf(bytes, at + 4, 16),
  }
}

/** struct lisp_rloc_interface, 12 bytes */
export interface BpfRlocInterface {
  readonly interfaceIndex: number
  readonly mac: Uint8Array
}
export const RLOC_INTERFACE_BYTES = 12
export const RLOC_INTERFACE_OFFSETS = { interfaceIndex: 0, mac: 4, reserved: 10 } as const
export function writeBpfRlocInterface(view: DataView, at: number, value: BpfRlocInterface): void {
  view.setUint32(at + 0, value.interfaceIndex, true)
  writeBytes(view, at + 4, value.mac, 6)
}
export function encodeBpfRlocInterface(value: BpfRlocInterface): Uint8Array {
  const bytes = new Uint8Array(12)
  writeBpfRlocInterface(viewOf(bytes), 0, value)
  return bytes
}
export function decodeBpfRlocInterface(bytes: Uint8Array, at = 0): BpfRlocInterface {
  const view = viewOf(bytes)
  return {
    interfaceIndex: view.getUint32(at + 0, true),
    mac: copyOf(bytes, at + 4, 6),
  }
}

/** struct lisp_own_rlocs, 324 bytes */
export interface BpfOwnRlocs {
  readonly count: number
  readonly rlocs: readonly BpfRlocKey[]
}
export const OWN_RLOCS_BYTES = 324
export const OWN_RLOCS_OFFSETS = { count: 0, rlocs: 4 } as const
export function writeBpfOwnRlocs(view: DataView, at: number, value: BpfOwnRlocs): void {
  view.setUint32(at + 0, value.count, true)
  writeArray(view, at + 4, 20, 16, value.rlocs, writeBpfRlocKey)
}
export function encodeBpfOwnRlocs(value: BpfOwnRlocs): Uint8Array {
  const bytes = new Uint8Array(324)
  writeBpfOwnRlocs(viewOf(bytes), 0, value)
  return bytes
}
export function decodeBpfOwnRlocs(bytes: Uint8Array, at = 0): BpfOwnRlocs {
  const view = viewOf(bytes)
  return {
    count: view.getUint32(at + 0, true),
    rlocs: readArray(bytes, at + 4, 20, 16, decodeBpfRlocKey),
  }
}

/** struct lisp_node_config, 24 bytes */
export interface BpfNodeConfig {
  readonly holdInterfaceIndex: number
  readonly groEntryInterfaceIndex: number
  readonly gpeInterfaceIndex: number
  readonly flags: number
  readonly unsettledUntilNs: bigint
}
export const NODE_CONFIG_BYTES = 24
export const NODE_CONFIG_OFFSETS = { holdInterfaceIndex: 0, groEntryInterfaceIndex: 4, gpeInterfaceIndex: 8, flags: 12, unsettledUntilNs: 16 } as const
export function writeBpfNodeConfig(view: DataView, at: number, value: BpfNodeConfig): void {
  view.setUint32(at + 0, value.holdInterfaceIndex, true)
  view.setUint32(at + 4, value.groEntryInterfaceIndex, true)
  view.setUint32(at + 8, value.gpeInterfaceIndex, true)
  view.setUint32(at + 12, value.flags, true)
  view.setBigUint64(at + 16, value.unsettledUntilNs, true)
}
export function encodeBpfNodeConfig(value: BpfNodeConfig): Uint8Array {
  const bytes = new Uint8Array(24)
  writeBpfNodeConfig(viewOf(bytes), 0, value)
  return bytes
}
export function decodeBpfNodeConfig(bytes: Uint8Array, at = 0): BpfNodeConfig {
  const view = viewOf(bytes)
  return {
    holdInterfaceIndex: view.getUint32(at + 0, true),
    groEntryInterfaceIndex: view.getUint32(at + 4, true),
    gpeInterfaceIndex: view.getUint32(at + 8, true),
    flags: view.getUint32(at + 12, true),
    unsettledUntilNs: view.getBigUint64(at + 16, true),
  }
}

/** struct lisp_mapping_facts, 8 bytes */
export interface BpfMappingFacts {
  readonly id: number
  readonly mapVersion: number
  readonly statusBits: number
  readonly flags: number
}
export const MAPPING_FACTS_BYTES = 8
export const MAPPING_FACTS_OFFSETS = { id: 0, mapVersion: 4, statusBits: 6, flags: 7 } as const
export function writeBpfMappingFacts(view: DataView, at: number, value: BpfMappingFacts): void {
  view.setUint32(at + 0, value.id, true)
  view.setUint16(at + 4, value.mapVersion, true)
  view.setUint8(at + 6, value.statusBits)
  view.setUint8(at + 7, value.flags)
}
export function encodeBpfMappingFacts(value: BpfMappingFacts): Uint8Array {
  const bytes = new Uint8Array(8)
  writeBpfMappingFacts(viewOf(bytes), 0, value)
  return bytes
}
export function decodeBpfMappingFacts(bytes: Uint8Array, at = 0): BpfMappingFacts {
  const view = viewOf(bytes)
  return {
    id: view.getUint32(at + 0, true),
    mapVersion: view.getUint16(at + 4, true),
    statusBits: view.getUint8(at + 6),
    flags: view.getUint8(at + 7),
  }
}

/** struct lisp_refused_key, 24 bytes */
export interface BpfRefusedKey {
  readonly factsId: number
  readonly sender: BpfRlocKey
}
export const REFUSED_KEY_BYTES = 24
export const REFUSED_KEY_OFFSETS = { factsId: 0, sender: 4 } as const
export function writeBpfRefusedKey(view: DataView, at: number, value: BpfRefusedKey): void {
  view.setUint32(at + 0, value.factsId, true)
  writeBpfRlocKey(view, at + 4, value.sender)
}
export function encodeBpfRefusedKey(value: BpfRefusedKey): Uint8Array {
  const bytes = new Uint8Array(24)
  writeBpfRefusedKey(viewOf(bytes), 0, value)
  return bytes
}
export function decodeBpfRefusedKey(bytes: Uint8Array, at = 0): BpfRefusedKey {
  const view = viewOf(bytes)
  return {
    factsId: view.getUint32(at + 0, true),
    sender: decodeBpfRlocKey(bytes, at + 4),
  }
}

/** struct lisp_hold_header, 14 bytes */
export interface BpfHoldHeader {
  readonly local: number
  readonly purpose: number
  readonly instanceId: Uint8Array
  readonly senderFamily: number
  readonly local2: number
  readonly segments: number
  readonly interfaceIndex: number
  readonly ethertype: number
}
export const HOLD_HEADER_BYTES = 14
export const HOLD_HEADER_OFFSETS = { local: 0, purpose: 1, instanceId: 2, senderFamily: 5, local2: 6, segments: 7, interfaceIndex: 8, ethertype: 12 } as const
export function writeBpfHoldHeader(view: DataView, at: number, value: BpfHoldHeader): void {
  view.setUint8(at + 0, value.local)
  view.setUint8(at + 1, value.purpose)
  writeBytes(view, at + 2, value.instanceId, 3)
  view.setUint8(at + 5, value.senderFamily)
  view.setUint8(at + 6, value.local2)
  view.setUint8(at + 7, value.segments)
  view.setUint32(at + 8, value.interfaceIndex, false)
  view.setUint16(at + 12, value.ethertype, false)
}
export function encodeBpfHoldHeader(value: BpfHoldHeader): Uint8Array {
  const bytes = new Uint8Array(14)
  writeBpfHoldHeader(viewOf(bytes), 0, value)
  return bytes
}
export function decodeBpfHoldHeader(bytes: Uint8Array, at = 0): BpfHoldHeader {
  const view = viewOf(bytes)
  return {
    local: view.getUint8(at + 0),
    purpose: view.getUint8(at + 1),
    instanceId: copyOf(bytes, at + 2, 3),
    senderFamily: view.getUint8(at + 5),
    local2: view.getUint8(at + 6),
    segments: view.getUint8(at + 7),
    interfaceIndex: view.getUint32(at + 8, false),
    ethertype: view.getUint16(at + 12, false),
  }
}

/** struct lisp_hold_gate, 16 bytes */
export interface BpfHoldGate {
  readonly entered: bigint
  readonly left: bigint
}
export const HOLD_GATE_BYTES = 16
export const HOLD_GATE_OFFSETS = { entered: 0, left: 8 } as const
export function writeBpfHoldGate(view: DataView, at: number, value: BpfHoldGate): void {
  view.setBigUint64(at + 0, value.entered, true)
  view.setBigUint64(at + 8, value.left, true)
}
export function encodeBpfHoldGate(value: BpfHoldGate): Uint8Array {
  const bytes = new Uint8Array(16)
  writeBpfHoldGate(viewOf(bytes), 0, value)
  return bytes
}
export function decodeBpfHoldGate(bytes: Uint8Array, at = 0): BpfHoldGate {
  const view = viewOf(bytes)
  return {
    entered: view.getBigUint64(at + 0, true),
    left: view.getBigUint64(at + 8, true),
  }
}

/** struct lisp_event, 248 bytes */
export interface BpfEvent {
  readonly type: number
  readonly detail: number
  readonly peerFamily: number
  readonly eid: BpfEidKey
  readonly peer: Uint8Array
  readonly interfaceIndex: number
  readonly mtu: number
  readonly headLength: number
  readonly mac: Uint8Array
  readonly head: Uint8Array
}
export const EVENT_BYTES = 248
export const EVENT_OFFSETS = { type: 0, detail: 1, peerFamily: 2, reserved: 3, eid: 4, peer: 24, interfaceIndex: 40, mtu: 44, headLength: 46, mac: 48, reserved2: 54, head: 56 } as const
export function writeBpfEvent(view: DataView, at: number, value: BpfEvent): void {
  view.setUint8(at + 0, value.type)
  view.setUint8(at + 1, value.detail)
  view.setUint8(at + 2, value.peerFamily)
  writeBpfEidKey(view, at + 4, value.eid)
  writeBytes(view, at + 24, value.peer, 16)
  view.setUint32(at + 40, value.interfaceIndex, true)
  view.setUint16(at + 44, value.mtu, true)
  view.setUint16(at + 46, value.headLength, true)
  writeBytes(view, at + 48, value.mac, 6)
  writeBytes(view, at + 56, value.head, 192)
}
export function encodeBpfEvent(value: BpfEvent): Uint8Array {
  const bytes = new Uint8Array(248)
  writeBpfEvent(viewOf(bytes), 0, value)
  return bytes
}
export function decodeBpfEvent(bytes: Uint8Array, at = 0): BpfEvent {
  const view = viewOf(bytes)
  return {
    type: view.getUint8(at + 0),
    detail: view.getUint8(at + 1),
    peerFamily: view.getUint8(at + 2),
    eid: decodeBpfEidKey(bytes, at + 4),
    peer: copyOf(bytes, at + 24, 16),
    interfaceIndex: view.getUint32(at + 40, true),
    mtu: view.getUint16(at + 44, true),
    headLength: view.getUint16(at + 46, true),
    mac: copyOf(bytes, at + 48, 6),
    head: copyOf(bytes, at + 56, 192),
  }
}

/** struct lisp_drop_counter, 16 bytes */
export interface BpfDropCounter {
  readonly packets: bigint
  readonly bytes: bigint
}
export const DROP_COUNTER_BYTES = 16
export const DROP_COUNTER_OFFSETS = { packets: 0, bytes: 8 } as const
export function writeBpfDropCounter(view: DataView, at: number, value: BpfDropCounter): void {
  view.setBigUint64(at + 0, value.packets, true)
  view.setBigUint64(at + 8, value.bytes, true)
}
export function encodeBpfDropCounter(value: BpfDropCounter): Uint8Array {
  const bytes = new Uint8Array(16)
  writeBpfDropCounter(viewOf(bytes), 0, value)
  return bytes
}
export function decodeBpfDropCounter(bytes: Uint8Array, at = 0): BpfDropCounter {
  const view = viewOf(bytes)
  return {
    packets: view.getBigUint64(at + 0, true),
    bytes: view.getBigUint64(at + 8, true),
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** A copy also when `bytes` is a Buffer, whose own slice would be a view of memory that is reused. */
function copyOf(bytes: Uint8Array, at: number, count: number): Uint8Array {
  return new Uint8Array(bytes.subarray(at, at + count))
}

/** Shorter values are padded with zeros (the element was zero before); longer ones are an error. */
function writeBytes(view: DataView, at: number, value: Uint8Array, count: number): void {
  if (value.length > count) throw new RangeError(`${value.length} bytes do not fit in ${count}`)
  new Uint8Array(view.buffer, view.byteOffset, view.byteLength).set(value, at)
}

function writeArray<Value>(
  view: DataView,
  at: number,
  size: number,
  count: number,
  values: readonly Value[],
  write: (view: DataView, at: number, value: Value) => void,
): void {
  if (values.length > count) throw new RangeError(`${values.length} elements do not fit in ${count}`)
  values.forEach((value, index) => write(view, at + index * size, value))
}

function readArray<Value>(
  bytes: Uint8Array,
  at: number,
  size: number,
  count: number,
  read: (bytes: Uint8Array, at: number) => Value,
): Value[] {
  return Array.from({ length: count }, (_, index) => read(bytes, at + index * size))
}

function readWord(bytes: Uint8Array, at: number): number {
  return viewOf(bytes).getUint32(at, true)
}

function writeWord(view: DataView, at: number, value: number): void {
  view.setUint32(at, value, true)
}
