/** IGMP, MLD, PIM and joins between xTRs in /metrics; read when scraped. */
import { Counter, type Registry } from 'prom-client'
import type { GroupPacketCounters } from '../datapath/group-packet-counters.js'

/** Returns what replaces the metrics by the values of this moment. */
export function registerGroupPackets(
  register: Registry,
  read: () => GroupPacketCounters,
): () => void {
  const counter = (name: string, help: string, label: string): Counter =>
    new Counter({ name: `godwit_${name}`, help, labelNames: [label], registers: [register] })
  const packets = counter(
    'group_control_packets_total',
    'IGMP, MLD and PIM packets and joins between xTRs, taken and sent',
    'kind',
  )
  const drops = counter(
    'group_control_drops_total',
    'IGMP, MLD and PIM packets and joins between xTRs that were dropped unread or unsent',
    'reason',
  )
  return () => {
    const now = read()
    for (const metric of [packets, drops]) metric.reset()
    for (const [kind, count] of Object.entries(now.packets)) packets.inc({ kind }, count)
    for (const [reason, count] of Object.entries(now.drops)) drops.inc({ reason }, count)
  }
}
