/**
 * The hold of the model: what waits for a mapping or for an endpoint, per {purpose, EID}, bounded.
 *
 * The same contract as the hold of the kernel: limits of packets, bytes and EIDs refuse the newest,
 * the time limit gives up a whole queue; commands are carried out in the order given, each a moment
 * after it was given; a release lets everything out in arrival order, then puts the final form of
 * the entry, then reports. Packets that come while a release waits join its queue. A queue of
 * nothing but copies is a window: its oldest go first, by age and number (native/addon/hold_queues.h).
 */
import type { DatapathEvent, HoldDropReason } from '../control/datapath-event.js'
import type { Eid } from '../lisp/eid.js'
import { formatEid } from '../lisp/eid.js'
import { isBeforeStamp, stampBefore } from '../lisp/move-stamp.js'
import type { ModelPacket } from './model-packet.js'

export type HoldPurpose = 'map-cache-miss' | 'endpoint-expected'

export interface HoldLimits {
  readonly packetsPerEid: number
  readonly bytesPerEid: number
  readonly bytesTotal: number
  readonly maximumEids: number
  readonly longestMs: Readonly<Record<HoldPurpose, number>>
  /** How far back a queue of nothing but copies reaches. */
  readonly windowMs: number
  /** Before the first redirected packet, when nobody says when the endpoint stopped. */
  readonly provisionalGuardMs: number
}

export interface HoldRelease {
  readonly purpose: HoldPurpose
  readonly eid: Eid
  /** Puts the final form of the entry, once the queue is empty. */
  readonly flip: (() => void) | undefined
  /** Announced ones raise `hold-released`. */
  readonly announced: boolean
  readonly done: () => void
  /** Which copies leave; the others were seen at the source. */
  readonly copies?: Copies
}

/** All that can not be told seen, none, or those from this stamp on. */
export type Copies = 'all' | 'none' | number

export interface ModelHold {
  /** False when it was refused; the packet is counted then. */
  hold(purpose: HoldPurpose, packet: ModelPacket): boolean
  release(release: HoldRelease): void
  drop(eid: Eid, reason: HoldDropReason): void
  /** The window of this EID closes: nothing more is given up for its age. */
  mark(eid: Eid): void
  /** The process that held them is gone: everything held and every command under way. */
  lose(): void
  /** Every packet that waits. */
  waiting(): Iterable<ModelPacket>
  statistics(): HoldStatistics
}

export interface HoldStatistics {
  readonly packets: number
  readonly bytes: number
  readonly heldTotal: number
  readonly releasedTotal: number
  readonly dropped: Readonly<Record<string, number>>
}

export interface HoldSurroundings {
  now(): number
  /** Calls back after `delayMs`; what was asked before `lose` may still call back. */
  after(delayMs: number, run: () => void): void
  /** How long the hold takes to carry out a command, in ms; asked once per command. */
  commandMs(): number
  raise(event: DatapathEvent): void
  /** The packet leaves the hold. */
  emit(purpose: HoldPurpose, packet: ModelPacket): void
  discard(packet: ModelPacket, reason: HoldReason): void
}

export type HoldReason = HoldDropReason | 'hold-lost' | 'hold-eids' | 'aged' | 'seen-at-source'

interface Queue {
  readonly key: string
  readonly purpose: HoldPurpose
  readonly eid: Eid
  packets: ModelPacket[]
  bytes: number
  since: number
  window: boolean
}

const HOLD_PURPOSES: readonly HoldPurpose[] = ['map-cache-miss', 'endpoint-expected']

export function createModelHold(limits: HoldLimits, around: HoldSurroundings): ModelHold {
  const queues = new Map<string, Queue>()
  /** Releases given and not yet carried out, per {purpose, EID}. */
  const pending = new Map<string, number>()
  const dropped: Record<string, number> = {}
  const arrivedAt = new WeakMap<ModelPacket, number>()
  let [packets, bytes, heldTotal, releasedTotal] = [0, 0, 0, 0]
  let lastCommandAt = 0
  /** Rises with every `lose`: what was scheduled before belongs to nobody. */
  let generation = 0

  const keyOf = (purpose: HoldPurpose, name: string): string => `${purpose}/${name}`

  function discard(packet: ModelPacket, reason: Parameters<HoldSurroundings['discard']>[1]): void {
    dropped[reason] = (dropped[reason] ?? 0) + 1
    around.discard(packet, reason)
  }

  function refusal(queue: Queue | undefined, packet: ModelPacket) {
    if (queue === undefined && queues.size >= limits.maximumEids) return 'hold-eids' as const
    if (queue !== undefined && queue.packets.length >= limits.packetsPerEid)
      return 'hold-packets' as const
    if ((queue?.bytes ?? 0) + packet.sizeBytes > limits.bytesPerEid) return 'hold-bytes' as const
    if (bytes + packet.sizeBytes > limits.bytesTotal) return 'hold-total' as const
    return undefined
  }

  /** Takes everything out of a queue; the queue is gone. */
  function empty(queue: Queue): ModelPacket[] {
    queues.delete(queue.key)
    packets -= queue.packets.length
    bytes -= queue.bytes
    return queue.packets
  }

  function giveUp(queue: Queue, reason: HoldDropReason): void {
    const given = empty(queue)
    for (const packet of given) discard(packet, reason)
    around.raise({ kind: 'hold-dropped', eid: queue.eid, packets: given.length, reason })
  }

  function watchAge(queue: Queue): void {
    const mine = generation
    const { since } = queue
    const isSame = (): boolean => mine === generation && queues.get(queue.key) === queue
    around.after(queue.window ? limits.windowMs : limits.longestMs[queue.purpose], () => {
      if (!isSame() || queue.since !== since) return
      if (!queue.window) {
        giveUp(queue, 'hold-time')
        return
      }
      age(queue)
      if (queue.packets.length === 0) empty(queue)
      else watchAge(queue)
    })
  }

  /** Copies that are too old or too many leave their window. */
  function age(queue: Queue): void {
    while (queue.packets.length > 0) {
      const oldest = queue.packets[0]!
      const isOld = around.now() - (arrivedAt.get(oldest) ?? 0) >= limits.windowMs
      if (!isOld && queue.packets.length < limits.packetsPerEid) return
      queue.packets.shift()
      queue.bytes -= oldest.sizeBytes
      packets -= 1
      bytes -= oldest.sizeBytes
      discard(oldest, 'aged')
    }
  }

  function close(queue: Queue): void {
    if (!queue.window) return
    queue.window = false
    queue.since = around.now()
    watchAge(queue)
  }

  function wasSeen({ mark }: ModelPacket, copies: Copies, first: number | undefined): boolean {
    if (mark?.kind !== 'copy' || copies === 'none') return mark?.kind === 'copy'
    const cut = copies === 'all' ? first && stampBefore(first, limits.provisionalGuardMs) : copies
    return cut !== undefined && isBeforeStamp(mark.stamp, cut)
  }

  /** One thread carries out commands: none overtakes another. */
  function command(run: () => void): void {
    const mine = generation
    const at = Math.max(around.now() + around.commandMs(), lastCommandAt)
    lastCommandAt = at
    around.after(at - around.now(), () => {
      if (mine === generation) run()
    })
  }

  function carryOut(release: HoldRelease, key: string): void {
    const left = (pending.get(key) ?? 1) - 1
    if (left === 0) pending.delete(key)
    else pending.set(key, left)
    const queue = queues.get(key)
    const out = queue === undefined ? [] : empty(queue)
    const first = out.find((one) => one.mark?.kind === 'redirect')?.mark?.stamp
    for (const packet of out) {
      if (wasSeen(packet, release.copies ?? 'all', first)) discard(packet, 'seen-at-source')
      else around.emit(release.purpose, packet)
    }
    releasedTotal += out.length
    release.flip?.()
    if (release.announced)
      around.raise({
        kind: 'hold-released',
        eid: release.eid,
        packets: out.length,
        heldMs: queue === undefined ? 0 : around.now() - queue.since,
      })
    release.done()
  }

  return {
    hold(purpose, packet) {
      const key = keyOf(purpose, packet.flow.destinationText)
      let queue = queues.get(key)
      const isCopy = packet.mark?.kind === 'copy'
      if (queue?.window) {
        if (!isCopy) close(queue)
        age(queue)
      }
      const reason = refusal(queue, packet)
      if (reason !== undefined) {
        discard(packet, reason)
        return false
      }
      const { source, destination } = packet.flow
      if (queue === undefined) {
        const since = around.now()
        const window = isCopy && !pending.has(key)
        queue = { key, purpose, eid: destination, packets: [], bytes: 0, since, window }
        queues.set(key, queue)
        watchAge(queue)
        // What waits for a release that is under way needs nobody's attention.
        if (!pending.has(key))
          around.raise({ kind: 'packet-held', eid: destination, source, why: purpose })
      }
      arrivedAt.set(packet, around.now())
      queue.packets.push(packet)
      queue.bytes += packet.sizeBytes
      packets += 1
      bytes += packet.sizeBytes
      heldTotal += 1
      return true
    },
    release(release) {
      const key = keyOf(release.purpose, formatEid(release.eid))
      pending.set(key, (pending.get(key) ?? 0) + 1)
      command(() => carryOut(release, key))
    },
    drop(eid, reason) {
      const name = formatEid(eid)
      command(() => {
        for (const purpose of HOLD_PURPOSES) {
          const queue = queues.get(keyOf(purpose, name))
          if (queue !== undefined) giveUp(queue, reason)
        }
      })
    },
    mark(eid) {
      command(() => {
        const queue = queues.get(keyOf('endpoint-expected', formatEid(eid)))
        if (queue !== undefined) close(queue)
      })
    },
    lose() {
      generation += 1
      pending.clear()
      lastCommandAt = 0
      for (const queue of [...queues.values()])
        for (const packet of empty(queue)) discard(packet, 'hold-lost')
    },
    *waiting() {
      for (const queue of queues.values()) yield* queue.packets
    },
    statistics: () => ({ packets, bytes, heldTotal, releasedTotal, dropped: { ...dropped } }),
  }
}
