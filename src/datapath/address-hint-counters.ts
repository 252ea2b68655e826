/**
 * Counters of address hints: what DHCP and duplicate address detection say on a segment. Every frame that
 * is read ends as one of `heard` or of `drops`; beyond it an address that nobody may be asked for is a drop.
 */
export const ADDRESS_HINTS = ['dhcpv4', 'dhcpv6', 'duplicate-address-detection'] as const
/** By what an address became known. */
export type AddressHintKind = (typeof ADDRESS_HINTS)[number]

export const ADDRESS_HINT_DROPS = [
  /** Frames that had no room in the socket. */
  'queue-full',
  /** Shorter than its headers say. */
  'cut-short',
  'fragment',
  /** An IP header of another version, with an impossible length, or neither UDP nor ICMPv6 behind it. */
  'ip-header',
  /** DHCP whose options lead out of it or are too many; a solicitation that is none. */
  'malformed',
  /** Another message than those that name an address, or one that names none. */
  'names-no-address',
  /** Addresses beyond the first ones of a message. */
  'too-many-addresses',
  /** Of no dynamic-EID prefix of the interface. */
  'outside-dynamic-prefixes',
  /** We have no address of the family there, and asking without one would look like a conflict. */
  'no-own-address',
  'rate-limited',
] as const
export type AddressHintDrop = (typeof ADDRESS_HINT_DROPS)[number]

export interface AddressHintCounters {
  readonly heard: Readonly<Record<AddressHintKind, number>>
  readonly drops: Readonly<Record<AddressHintDrop, number>>
}
