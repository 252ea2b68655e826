/**
 * The hold seen from the tables: which releases are under way, and what each held packet means.
 *
 * A release runs in the hold's own thread; here only the order of releases per {purpose, EID} is
 * known, so that its end finds the entry that asked for it. Without a hold (no TUN device) releases
 * end at once with nothing released.
 */
import type { DatapathEvent, HoldDropReason } from '../control/datapath-event.js'
import type { HoldGiveUpReason } from '../control/datapath-operation.js'
import type { Eid } from '../lisp/eid.js'
import { type BpfHoldPurposeName, HOLD_PURPOSE } from './abi.generated.js'
import { HOLD_CUT } from './bpf-moves.js'
import { eidKey, eidOfKey, keyText, sourceOfPacket } from './eid-keys.js'
import type { HoldEvent, NativeAddon, NativeHandle } from './native-addon.js'

/** What packets wait for. */
export type HeldPurpose = Exclude<BpfHoldPurposeName, 'fragment'>

/** A value to be put in a map at the end of a release, in the hold's thread. */
export interface Flip {
  readonly map: string
  readonly key: Uint8Array
  readonly value: Uint8Array
}

export interface HoldReleases {
  /**
   * Start a release; `done` is called when it has ended. `announced` ones raise `hold-released`.
   */
  release(release: {
    readonly purpose: HeldPurpose
    readonly eid: Eid
    readonly flip: Flip | undefined
    readonly announced: boolean
    readonly done: () => void
    /** Which copies are dropped (HOLD_CUT in bpf-moves.ts); default: none that is not known as seen. */
    readonly cut?: number
  }): void
  /** Copies held for the EID are not given up for their age any more. */
  mark(eid: Eid): void
  drop(eid: Eid, reason: HoldGiveUpReason): void
  /** The same for packets that wait for a mapping only. */
  giveUp(eid: Eid, reason: HoldGiveUpReason): void
  /** Translate the hold's own events; `isFinal` says whether packets to the EID need no waiting. */
  take(events: readonly HoldEvent[]): void
}

export function createHoldReleases(options: {
  readonly addon: NativeAddon
  readonly hold: NativeHandle | undefined
  readonly writeFlip: (flip: Flip) => void
  readonly raise: (event: DatapathEvent) => void
  /** The entry of this EID already lets packets pass: what was held is a straggler. */
  readonly isFinal: (purpose: HeldPurpose, eid: Eid) => boolean
}): HoldReleases {
  const { addon, hold, raise } = options
  const pending = new Map<string, Pending[]>()

  const release: HoldReleases['release'] = ({
    purpose,
    eid,
    flip,
    announced,
    done,
    cut = HOLD_CUT.unknown,
  }) => {
    if (hold === undefined) {
      if (flip !== undefined) options.writeFlip(flip)
      if (announced) raise({ kind: 'hold-released', eid, packets: 0, heldMs: 0 })
      done()
      return
    }
    const key = eidKey(eid)
    const number = HOLD_PURPOSE[purpose]
    addon.releaseHold(hold, number, key, flip, cut)
    const text = pendingKey(number, key)
    const queue = pending.get(text) ?? []
    queue.push({ announced, done, flip })
    pending.set(text, queue)
  }

  const takeHeld = (event: HoldEvent & { kind: 'held' }, eid: Eid): void => {
    // Its packets leave with the release that is already under way.
    if (pending.has(pendingKey(event.purpose, event.key))) return
    const purpose = purposeOf(event.purpose)
    if (purpose === undefined) return
    // A packet that was under way into the hold while the entry became final, or that waited in the
    // device while no daemon ran. Nothing needs to be asked for it.
    if (options.isFinal(purpose, eid)) {
      release({ purpose, eid, flip: undefined, announced: false, done: () => {} })
      return
    }
    const address = sourceOfPacket(event.head)
    if (address === undefined) return
    const source = { instanceId: eid.instanceId, address }
    raise({ kind: 'packet-held', eid, source, why: purpose })
  }

  /** Comes before the `released` of the same release. Without the final form all would wait on. */
  const retryFlip = (event: HoldEvent & { kind: 'dropped' }): void => {
    const flip = pending.get(pendingKey(event.purpose, event.key))?.[0]?.flip
    if (flip !== undefined) options.writeFlip(flip)
  }

  const takeReleased = (event: HoldEvent & { kind: 'released' }, eid: Eid): void => {
    const text = pendingKey(event.purpose, event.key)
    const queue = pending.get(text)
    const first = queue?.shift()
    if (queue?.length === 0) pending.delete(text)
    if (first === undefined) return
    if (first.announced) {
      raise({ kind: 'hold-released', eid, packets: event.packets, heldMs: event.heldMs })
    }
    first.done()
  }

  const give = (purpose: HeldPurpose, eid: Eid, reason: HoldGiveUpReason): void => {
    if (hold !== undefined) addon.dropHold(hold, HOLD_PURPOSE[purpose], eidKey(eid), reason)
  }

  return {
    release,
    drop(eid, reason) {
      for (const purpose of HELD_PURPOSES) give(purpose, eid, reason)
    },
    mark(eid) {
      if (hold !== undefined) addon.markHold(hold, HOLD_PURPOSE['endpoint-expected'], eidKey(eid))
    },
    giveUp: (eid, reason) => give('map-cache-miss', eid, reason),
    take(events) {
      for (const event of events) {
        const eid = eidOfKey(event.key)
        if (eid === undefined) continue
        if (event.kind === 'held') takeHeld(event, eid)
        else if (event.kind === 'released') takeReleased(event, eid)
        else if (event.reason === FLIP_FAILED) retryFlip(event)
        else if (event.packets > 0) {
          const reason = event.reason as HoldDropReason
          raise({ kind: 'hold-dropped', eid, packets: event.packets, reason })
        }
      }
    },
  }
}

interface Pending {
  readonly announced: boolean
  readonly done: () => void
  readonly flip: Flip | undefined
}

function pendingKey(purpose: number, key: Uint8Array): string {
  return `${purpose}/${keyText(key)}`
}

function purposeOf(number: number): HeldPurpose | undefined {
  return HELD_PURPOSES.find((name) => HOLD_PURPOSE[name] === number)
}

const HELD_PURPOSES: readonly HeldPurpose[] = ['map-cache-miss', 'endpoint-expected']
// What the hold says when it could not put a flip into its map.
const FLIP_FAILED = 'flip-failed'
