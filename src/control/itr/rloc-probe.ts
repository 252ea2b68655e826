/**
 * Whether the locators we send to can be reached: RLOC-probing (RFC 9301 §7.1).
 *
 * Every RLOC of a positive map-cache entry is probed once per interval (±25 %, so that nodes do not
 * march in step), directly on UDP 4342, never through the mapping system. `failures` probes 1 s apart
 * without answer make it down; only an answer makes it up again, never data (RFC 9301 §7). What a
 * change means for the map-cache is decided in itr.ts. Mappings inside probe replies are not taken
 * over: changes are learned through the mapping system alone (our choice).
 */
import type { NodeConfig } from '../../config/node-config.js'
import { formatIpAddress } from '../../lisp/address.js'
import type { EidPrefix } from '../../lisp/eid.js'
import type { Rloc } from '../../lisp/locator.js'
import { encodeMessage, type MapReply } from '../../lisp/message.js'
import type { Instant, Random } from '../capabilities.js'
import { sendControl } from '../control-datagram.js'
import { createDeadlines } from '../deadlines.js'
import type { Output } from '../input-output.js'
import type { LocatorStateView } from '../snapshot.js'
import { mapRequest } from './map-request-form.js'

export interface RlocProbeCallbacks {
  /** A cached EID-prefix that uses this RLOC, for the record of the probe. */
  prefixOf(rloc: Rloc): EidPrefix | undefined
  changed(rloc: Rloc, reachable: boolean, now: Instant, outputs: Output[]): void
}

export interface RlocProbe {
  /** Probe this RLOC from now on. False when there are too many already: it then counts as up. */
  track(rloc: Rloc, now: Instant): boolean
  /** No entry uses it; forgotten at its next turn unless tracked again. */
  untrack(rloc: Rloc): void
  isDown(rloc: Rloc): boolean
  /** Something speaks against it: probe it at once. */
  suspect(rloc: Rloc, now: Instant): void
  /** It was found down otherwise; only a probe finds it up again. */
  fail(rloc: Rloc, now: Instant, outputs: Output[]): void
  /** True when the reply answers a probe of ours. */
  handleReply(reply: MapReply, now: Instant, outputs: Output[]): boolean
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
  views(now: Instant): LocatorStateView[]
  /** How many of the probed RLOCs do not answer. */
  unreachable(): number
}

interface Probed {
  readonly rloc: Rloc
  used: boolean
  reachable: boolean
  nonce: bigint | undefined
  sentAt: Instant
  missed: number
  roundTripMs: number | undefined
  lastReplyAt: Instant | undefined
  /** The last probes, newest in bit 0: 1 = answered. */
  history: number
  probes: number
}

const RETRY_MS = 1000
const JITTER = 0.25
/** Probed RLOCs per node; more are used unprobed. */
const MAXIMUM_PROBED = 4096
/** Probes over which loss is reported. */
const HISTORY = 20

export function createRlocProbe(
  config: NodeConfig,
  random: Random,
  callbacks: RlocProbeCallbacks,
): RlocProbe {
  const table = new Map<string, Probed>()
  const byNonce = new Map<bigint, Probed>()
  const deadlines = createDeadlines()

  const interval = (): number =>
    config.rlocProbe.intervalMs * (1 - JITTER + 2 * JITTER * random.fraction())

  function record(one: Probed, answered: boolean): void {
    one.history = ((one.history << 1) | (answered ? 1 : 0)) & ((1 << HISTORY) - 1)
    one.probes = Math.min(one.probes + 1, HISTORY)
  }

  function send(
    key: string,
    one: Probed,
    eidPrefix: EidPrefix,
    now: Instant,
    outputs: Output[],
  ): void {
    one.nonce = random.nonce()
    one.sentAt = now
    byNonce.set(one.nonce, one)
    const request = mapRequest(config, eidPrefix, one.nonce, { rlocProbe: true })
    sendControl(config, one.rloc, encodeMessage(request), outputs)
    deadlines.set(key, now + RETRY_MS)
  }

  function setReachable(one: Probed, reachable: boolean, now: Instant, outputs: Output[]): void {
    if (one.reachable === reachable) return
    one.reachable = reachable
    outputs.push({
      kind: 'event',
      event: {
        name: reachable ? 'locator-up' : 'locator-down',
        severity: reachable ? 'notice' : 'warning',
        rloc: formatIpAddress(one.rloc),
      },
    })
    callbacks.changed(one.rloc, reachable, now, outputs)
  }

  function takeTurn(key: string, one: Probed, now: Instant, outputs: Output[]): void {
    if (one.nonce !== undefined) {
      byNonce.delete(one.nonce)
      one.nonce = undefined
      one.missed += 1
      record(one, false)
      if (one.missed === config.rlocProbe.failures) setReachable(one, false, now, outputs)
      if (one.missed >= config.rlocProbe.failures) {
        deadlines.set(key, now + interval())
        return
      }
    }
    const eidPrefix = one.used ? callbacks.prefixOf(one.rloc) : undefined
    if (eidPrefix === undefined) table.delete(key)
    else send(key, one, eidPrefix, now, outputs)
  }

  return {
    track(rloc, now) {
      if (!config.rlocProbe.enabled) return true
      const key = formatIpAddress(rloc)
      const known = table.get(key)
      if (known !== undefined) {
        known.used = true
        return true
      }
      if (table.size >= MAXIMUM_PROBED) return false
      table.set(key, {
        rloc,
        used: true,
        reachable: true,
        nonce: undefined,
        sentAt: now,
        missed: 0,
        roundTripMs: undefined,
        lastReplyAt: undefined,
        history: 0,
        probes: 0,
      })
      deadlines.set(key, now + config.rlocProbe.intervalMs * random.fraction())
      return true
    },
    untrack(rloc) {
      const one = table.get(formatIpAddress(rloc))
      if (one !== undefined) one.used = false
    },
    isDown: (rloc) => table.get(formatIpAddress(rloc))?.reachable === false,
    suspect(rloc, now) {
      const key = formatIpAddress(rloc)
      if (table.has(key) && table.get(key)?.nonce === undefined) deadlines.set(key, now)
    },
    fail(rloc, now, outputs) {
      const one = table.get(formatIpAddress(rloc))
      if (one === undefined) return
      setReachable(one, false, now, outputs)
      this.suspect(rloc, now)
    },
    handleReply(reply, now, outputs) {
      const asked = byNonce.get(reply.nonce)
      if (asked === undefined) return false
      // RFC 9301 §5.4: a probe reply with any A=0 is discarded silently (by rule); we count it.
      if (reply.records.length === 0 || reply.records.some((one) => !one.authoritative))
        return false
      byNonce.delete(reply.nonce)
      asked.nonce = undefined
      asked.missed = 0
      asked.roundTripMs = now - asked.sentAt
      asked.lastReplyAt = now
      record(asked, true)
      deadlines.set(formatIpAddress(asked.rloc), now + interval())
      // RFC 9301 §5.4: the result belongs to the first locator with the p bit, whoever sent the reply.
      const marked = reply.records.flatMap((one) => one.locators).find((one) => one.probe)
      const concerned = marked === undefined ? asked : table.get(formatIpAddress(marked.rloc))
      if (concerned !== undefined) setReachable(concerned, true, now, outputs)
      return true
    },
    handleDeadline(now, outputs) {
      for (const key of deadlines.due(now)) {
        const one = table.get(key)
        if (one !== undefined) takeTurn(key, one, now, outputs)
      }
    },
    deadline: () => deadlines.next(),
    unreachable() {
      let count = 0
      for (const { reachable } of table.values()) if (!reachable) count += 1
      return count
    },
    views: (now) =>
      [...table.entries()].map(([rloc, one]) => ({
        rloc,
        reachable: one.reachable,
        probing: one.used,
        roundTripMs: one.roundTripMs,
        lastReplyAgoMs: one.lastReplyAt === undefined ? undefined : now - one.lastReplyAt,
        lossPercent: one.probes === 0 ? 0 : (100 * (one.probes - ones(one.history))) / one.probes,
      })),
  }
}

function ones(bits: number): number {
  let count = 0
  for (let rest = bits; rest !== 0; rest &= rest - 1) count += 1
  return count
}
