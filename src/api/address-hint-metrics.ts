/** What DHCP and duplicate address detection say on the segments, in /metrics; read when scraped. */
import { Counter, type Registry } from 'prom-client'
import type { AddressHintCounters } from '../datapath/address-hint-counters.js'

/** Returns what replaces the metrics by the values of this moment. */
export function registerAddressHints(
  register: Registry,
  read: () => AddressHintCounters,
): () => void {
  const heard = new Counter({
    name: 'godwit_address_hints_total',
    help: 'Messages on site interfaces that name an address which a host is about to use',
    labelNames: ['kind'],
    registers: [register],
  })
  const drops = new Counter({
    name: 'godwit_address_hint_drops_total',
    help: 'Frames of DHCP and duplicate address detection that were not read, and addresses not asked for',
    labelNames: ['reason'],
    registers: [register],
  })
  return () => {
    const now = read()
    for (const metric of [heard, drops]) metric.reset()
    for (const [kind, count] of Object.entries(now.heard)) heard.inc({ kind }, count)
    for (const [reason, count] of Object.entries(now.drops)) drops.inc({ reason }, count)
  }
}
