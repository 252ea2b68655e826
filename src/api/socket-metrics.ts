/**
 * Metrics of the daemon's own sockets for LISP control (UDP 4342). A queue that overflows in the kernel, or
 * an RLOC that nothing can be sent from, shows nowhere else.
 */
import { Counter, type Registry } from 'prom-client'

export interface SocketCounters {
  /** Datagrams by outcome: received, sent, cut short, dropped by the kernel before we saw them. */
  readonly control: Readonly<Record<string, number>>
  /** Datagrams not sent, by the kernel's reason. */
  readonly unsent: Readonly<Record<string, number>>
}

/** Returns what sets them to the values of this moment. */
export function registerSockets(register: Registry, read: () => SocketCounters): () => void {
  const counter = (name: string, help: string, label: string): Counter =>
    new Counter({ name: `godwit_${name}_total`, help, labelNames: [label], registers: [register] })
  const counters: [Counter, keyof SocketCounters, string][] = [
    [
      counter('control_datagrams', 'Control datagrams, by outcome', 'outcome'),
      ...(['control', 'outcome'] as const),
    ],
    [
      counter('control_unsent', 'Control datagrams that the kernel refused', 'reason'),
      ...(['unsent', 'reason'] as const),
    ],
  ]
  return () => {
    const now = read()
    for (const [metric, which, label] of counters) {
      metric.reset()
      for (const [value, count] of Object.entries(now[which])) metric.inc({ [label]: value }, count)
    }
  }
}
