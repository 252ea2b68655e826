/**
 * What the model does in a closed network: closed_send.h and closed_receive.h of native/bpf on values.
 *
 * Nonces and echoes (RFC 9300 §10.1), locator-status-bits (§10), map-versions (RFC 9302 §7), doubted
 * sources (RFC 9300 §16), gleaning (§9): the same order, the same limits, the same names. Whom to ask is
 * the node's business.
 */
import type {
  ClosedEvent,
  ClosedFields,
  ClosedOperation,
  ClosedSwitches,
} from '../control/closed-network/closed-vocabulary.js'
import { formatIpAddress } from '../lisp/address.js'
import { type Eid, type EidPrefix, formatEid, formatEidPrefix, hostPrefix } from '../lisp/eid.js'
import type { Rloc } from '../lisp/locator.js'
import { isNewerMapVersion } from '../lisp/map-version.js'
import { createEidTrie } from '../tables/eid-trie.js'
import type { ModelFlow } from './model-packet.js'

export type ClosedDropReason =
  | 'spoofed-source'
  | 'null-map-version'
  | 'future-map-version'
  | 'stale-map-version'

export interface ModelClosed {
  perform(operation: ClosedOperation): void
  /** What the header of a packet that leaves towards `to` says. */
  mark(flow: ModelFlow, to: Rloc): ClosedFields
  /**
   * A packet from the core for an EID of ours: why it is dropped, or undefined. `fields` is undefined
   * under the P bit, where N, E and V mean nothing (RFC 9305 §3).
   */
  check(
    flow: ModelFlow,
    sender: Rloc,
    fields: ClosedFields | undefined,
  ): ClosedDropReason | undefined
}

export interface ModelClosedSurroundings {
  now(): number
  /** Whether an event of this name may be raised again. */
  mayReport(name: string, intervalMs: number): boolean
  raise(event: ClosedEvent): void
  /** RLOCs of the source's mapping; undefined without one, empty when it forwards nowhere. */
  rlocsOf(eid: Eid): readonly Rloc[] | undefined
}

type Facts = Extract<ClosedOperation, { kind: 'put-mapping-facts' }>

const DOUBT_MS = 3000
const DOUBTS_PER_MS = 0.1
const DOUBT_BURST = 256
const EVENT_MS = 1000
const NONCE_EVENT_MS = 100
/** Doubted pairs and echoes remembered; the oldest goes first. */
const MAXIMUM_DOUBTS = 16_384
const MAXIMUM_ECHOES = 4096

const SILENT: ClosedFields = {
  nonce: undefined,
  echoNonceRequest: false,
  mapVersions: undefined,
  locatorStatusBits: undefined,
}

export function createModelClosed(
  switches: ClosedSwitches,
  around: ModelClosedSurroundings,
): ModelClosed {
  const facts = { own: createEidTrie<Facts>(), remote: createEidTrie<Facts>() }
  const wanted = new Map<string, { readonly nonce: number; sent: boolean }>()
  const owed = new Map<string, number>()
  const refused = new Set<string>()
  const doubts = new Map<string, number>()
  const tokens = { left: DOUBT_BURST, at: 0 }

  const relays = new Set(switches.relays?.map(formatIpAddress))

  const find = (side: 'own' | 'remote', eid: Eid): Facts | undefined =>
    facts[side].longestCovering(hostPrefix(eid))?.value
  const pair = (eidPrefix: EidPrefix, sender: Rloc): string =>
    `${formatEidPrefix(eidPrefix)} ${formatIpAddress(sender)}`

  function report(event: ClosedEvent): void {
    const about =
      event.kind === 'nonce-echo'
        ? `${event.echoed} ${formatIpAddress(event.rloc)}`
        : `${formatEid(event.eid)} ${formatIpAddress(event.sender)}`
    const interval = event.kind === 'nonce-echo' ? NONCE_EVENT_MS : EVENT_MS
    if (around.mayReport(`${event.kind} ${about}`, interval)) around.raise(event)
  }

  function takeToken(): boolean {
    const now = around.now()
    tokens.left = Math.min(DOUBT_BURST, tokens.left + (now - tokens.at) * DOUBTS_PER_MS)
    tokens.at = now
    if (tokens.left < 1) return false
    tokens.left -= 1
    return true
  }

  function isSpoofed(source: Eid, sender: Rloc, rlocs: readonly Rloc[]): boolean {
    const name = formatIpAddress(sender)
    const key = `${formatEid(source)} ${name}`
    if (rlocs.length === 0 || rlocs.some((rloc) => formatIpAddress(rloc) === name)) {
      doubts.delete(key)
      return false
    }
    if (relays.has(name)) return false
    report({ kind: 'source-doubted', eid: source, sender, why: 'rloc' })
    const until = doubts.get(key)
    if (until !== undefined) return until < around.now()
    if (!takeToken()) return true
    remember(doubts, key, around.now() + DOUBT_MS, MAXIMUM_DOUBTS)
    return false
  }

  function takeNonce(sender: Rloc, { nonce, echoNonceRequest }: ClosedFields): void {
    const key = formatIpAddress(sender)
    if (nonce !== undefined && echoNonceRequest) remember(owed, key, nonce, MAXIMUM_ECHOES)
    const expected = wanted.get(key)
    if (expected === undefined) return
    const echoed = !echoNonceRequest && nonce === expected.nonce
    if (echoed || expected.sent) report({ kind: 'nonce-echo', rloc: sender, echoed })
  }

  function checkOwnVersion(eid: Eid, sender: Rloc, version: number): ClosedDropReason | undefined {
    const own = find('own', eid)
    // An EID that has just come has no version yet.
    if (own?.mapVersion === undefined) return undefined
    if (own.mapVersion === 0) return 'null-map-version'
    if (version === 0 || version === own.mapVersion) return undefined
    if (isNewerMapVersion(version, own.mapVersion)) return 'future-map-version'
    if (own.dropStale || refused.has(pair(own.eidPrefix, sender))) return 'stale-map-version'
    report({ kind: 'stale-map-version', eid, sender })
    return undefined
  }

  function checkSourceVersion(
    eid: Eid,
    sender: Rloc,
    version: number,
  ): ClosedDropReason | undefined {
    const cached = find('remote', eid)?.mapVersion ?? 0
    if (version === 0 || cached === 0 || version === cached) return undefined
    if (!isNewerMapVersion(version, cached)) return 'stale-map-version'
    report({ kind: 'source-doubted', eid, sender, why: 'map-version' })
    return undefined
  }

  function compareStatusBits(eid: Eid, sender: Rloc, bits: number): void {
    const known = find('remote', eid)?.statusBits
    const statusBits = bits & 0xff
    if (known !== undefined && known !== statusBits)
      report({ kind: 'status-bits-changed', eid, sender, statusBits })
  }

  function nonceFor(to: Rloc): Pick<ClosedFields, 'nonce' | 'echoNonceRequest'> | undefined {
    const key = formatIpAddress(to)
    const echo = owed.get(key)
    if (echo !== undefined) {
      owed.delete(key)
      return { nonce: echo, echoNonceRequest: false }
    }
    const request = wanted.get(key)
    if (request === undefined) return undefined
    request.sent = true
    return { nonce: request.nonce, echoNonceRequest: true }
  }

  return {
    perform(operation) {
      switch (operation.kind) {
        case 'put-mapping-facts':
          facts[operation.side].insert(operation.eidPrefix, operation)
          return
        case 'delete-mapping-facts':
          facts[operation.side].remove(operation.eidPrefix)
          return
        case 'request-nonce-echo': {
          const key = formatIpAddress(operation.rloc)
          if (operation.nonce === undefined) wanted.delete(key)
          else wanted.set(key, { nonce: operation.nonce, sent: false })
          return
        }
        case 'refuse-stale-version': {
          const key = pair(operation.eidPrefix, operation.sender)
          if (operation.refused) refused.add(key)
          else refused.delete(key)
        }
      }
    },
    mark(flow, to) {
      const own = find('own', flow.source)
      const locatorStatusBits = switches.statusBits ? own?.statusBits : undefined
      const nonce = switches.echoNonce ? nonceFor(to) : undefined
      if (nonce !== undefined) return { ...SILENT, ...nonce, locatorStatusBits }
      const destination = find('remote', flow.destination)?.mapVersion ?? 0
      const mapVersions = { source: own?.mapVersion ?? 0, destination }
      const speaks = switches.mapVersions && destination !== 0
      return { ...SILENT, locatorStatusBits, mapVersions: speaks ? mapVersions : undefined }
    },
    check({ source, destination }, sender, fields) {
      const rlocs = around.rlocsOf(source)
      if (switches.checkSources && rlocs !== undefined && isSpoofed(source, sender, rlocs))
        return 'spoofed-source'
      if (switches.glean && rlocs === undefined && !relays.has(formatIpAddress(sender)))
        report({ kind: 'source-unmapped', eid: source, sender })
      if (fields === undefined) return undefined
      if (switches.echoNonce) takeNonce(sender, fields)
      const { mapVersions: versions, locatorStatusBits } = fields
      if (switches.mapVersions && versions !== undefined) {
        const reason =
          checkOwnVersion(destination, sender, versions.destination) ??
          checkSourceVersion(source, sender, versions.source)
        if (reason !== undefined) return reason
      }
      if (switches.statusBits && locatorStatusBits !== undefined)
        compareStatusBits(source, sender, locatorStatusBits)
      return undefined
    },
  }
}

function remember(map: Map<string, number>, key: string, value: number, maximum: number): void {
  if (map.size >= maximum && !map.has(key))
    for (const oldest of map.keys()) if (map.delete(oldest)) break
  map.set(key, value)
}
