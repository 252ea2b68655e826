/**
 * The books of all packets: each copy that was sent, or made by the network, is delivered, lost for
 * a named reason, or still under way; nothing else. Also what a person wants to know of a flow:
 * lost, duplicated, reordered, when.
 */
import type { Instant } from '../control/capabilities.js'
import type { ModelFlow, ModelPacket } from '../datapath/model-packet.js'

export interface FlowBooks {
  readonly name: string
  readonly flow: ModelFlow
  /** By sequence number. */
  readonly sentAt: Instant[]
  readonly deliveries: number[]
  /** When each was delivered first; undefined when it was not. */
  readonly deliveredAt: (Instant | undefined)[]
  /** Copies that the network added. */
  readonly extra: number[]
  readonly underWay: number[]
  /** The last reason for which a copy was lost. */
  readonly reason: (string | undefined)[]
  highest: number
  reordered: number
}

export interface Ledger {
  open(flow: ModelFlow, name: string): FlowBooks
  sent(packet: ModelPacket): void
  copied(packet: ModelPacket): void
  /** Returns how many copies of it have been delivered too often: 0 when all is well. */
  delivered(packet: ModelPacket): number
  lost(packet: ModelPacket, reason: string): void
  flows(): readonly FlowBooks[]
  /** Packets of which no copy was delivered although none is under way, since `from`. */
  missing(books: FlowBooks, from: Instant): { sequence: number; reason: string | undefined }[]
  underWay(): number
  /** Forgets a flow of which nothing is under way; its figures stay in the totals. */
  retire(books: FlowBooks): void
  totals(): Totals
}

export interface Totals {
  readonly sent: number
  readonly delivered: number
  readonly lost: number
  readonly duplicated: number
  readonly reordered: number
  /** Copies lost, by reason. */
  readonly reasons: Readonly<Record<string, number>>
}

export function createLedger(now: () => Instant): Ledger {
  const books = new Map<ModelFlow, FlowBooks>()
  const reasons: Record<string, number> = {}
  let underWay = 0
  const retired = { sent: 0, delivered: 0, duplicated: 0, reordered: 0 }

  function of(packet: ModelPacket): FlowBooks {
    const found = books.get(packet.flow)
    if (found === undefined) throw new Error(`no books of ${packet.flow.sourceText}`)
    return found
  }

  function close(one: FlowBooks, sequence: number): void {
    one.underWay[sequence]! -= 1
    underWay -= 1
    if (one.underWay[sequence]! < 0) throw new Error(`${one.name}#${sequence} ended twice`)
  }

  return {
    open(flow, name) {
      const one: FlowBooks = {
        name,
        flow,
        sentAt: [],
        deliveries: [],
        deliveredAt: [],
        extra: [],
        underWay: [],
        reason: [],
        highest: -1,
        reordered: 0,
      }
      books.set(flow, one)
      return one
    },
    sent(packet) {
      const one = of(packet)
      one.sentAt[packet.sequence] = now()
      one.deliveries[packet.sequence] = 0
      one.extra[packet.sequence] = 0
      one.underWay[packet.sequence] = 1
      underWay += 1
    },
    copied(packet) {
      const one = of(packet)
      one.extra[packet.sequence]! += 1
      one.underWay[packet.sequence]! += 1
      underWay += 1
    },
    delivered(packet) {
      const one = of(packet)
      close(one, packet.sequence)
      one.deliveries[packet.sequence]! += 1
      one.deliveredAt[packet.sequence] ??= now()
      if (packet.sequence < one.highest) one.reordered += 1
      else one.highest = packet.sequence
      return Math.max(0, one.deliveries[packet.sequence]! - 1 - one.extra[packet.sequence]!)
    },
    lost(packet, reason) {
      const one = of(packet)
      close(one, packet.sequence)
      one.reason[packet.sequence] = reason
      reasons[reason] = (reasons[reason] ?? 0) + 1
    },
    flows: () => [...books.values()],
    missing: (one, from) =>
      one.deliveries.flatMap((count, sequence) =>
        count === 0 && one.underWay[sequence] === 0 && one.sentAt[sequence]! >= from
          ? [{ sequence, reason: one.reason[sequence] }]
          : [],
      ),
    underWay: () => underWay,
    retire(one) {
      if (!books.delete(one.flow)) throw new Error(`no books of ${one.name}`)
      add(retired, one)
    },
    totals() {
      const sum = { ...retired }
      for (const one of books.values()) add(sum, one)
      return { ...sum, lost: sum.sent - sum.delivered, reasons }
    },
  }
}

function add(
  sum: { sent: number; delivered: number; duplicated: number; reordered: number },
  one: FlowBooks,
): void {
  sum.sent += one.deliveries.length
  sum.reordered += one.reordered
  for (const count of one.deliveries) {
    if (count > 0) sum.delivered += 1
    if (count > 1) sum.duplicated += count - 1
  }
}
