/**
 * Counters of the control packets of groups that pass beside the programs: IGMP, MLD and PIM as frames of
 * segments and of the core, and joins between xTRs. Every packet ends as one of `packets` or of `drops`;
 * what the control plane then makes of one is an event with a reason.
 */
export const GROUP_PACKETS = [
  'igmp-received',
  'igmp-sent',
  'mld-received',
  'mld-sent',
  'pim-received',
  'pim-sent',
  'join-received',
] as const
export type GroupPacket = (typeof GROUP_PACKETS)[number]

export const GROUP_PACKET_DROPS = [
  /** Frames that had no room in the socket; so for joins between xTRs. */
  'segment-queue-full',
  'join-queue-full',
  /** Shorter than their headers say. */
  'segment-cut-short',
  'join-cut-short',
  'segment-fragment',
  /** An IP header of another version or of an impossible length. */
  'segment-ip-header',
  /** Neither IGMP nor MLD nor PIM behind the headers that the filter looks at. */
  'segment-other-protocol',
  /** Not sent: the interface is not there or not ours, or nothing says to which MAC address. */
  'send-without-interface',
  'send-without-address',
  /** The kernel would not, as while a link is down. */
  'send-failed',
] as const
export type GroupPacketDrop = (typeof GROUP_PACKET_DROPS)[number]

export interface GroupPacketCounters {
  readonly packets: Readonly<Partial<Record<GroupPacket, number>>>
  readonly drops: Readonly<Partial<Record<GroupPacketDrop, number>>>
}

/** All at zero, to be counted up. */
export function zeros<Name extends string>(names: readonly Name[]): Record<Name, number> {
  return Object.fromEntries(names.map((name) => [name, 0])) as Record<Name, number>
}

/** Every name of the list, from parts that count different ones. */
export function sumOf(parts: readonly GroupPacketCounters[]): {
  packets: Record<GroupPacket, number>
  drops: Record<GroupPacketDrop, number>
} {
  const [packets, drops] = [zeros(GROUP_PACKETS), zeros(GROUP_PACKET_DROPS)]
  for (const part of parts) {
    for (const name of GROUP_PACKETS) packets[name] += part.packets[name] ?? 0
    for (const name of GROUP_PACKET_DROPS) drops[name] += part.drops[name] ?? 0
  }
  return { packets, drops }
}
