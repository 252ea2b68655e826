/**
 * The referral groper (RFC 8112): asks a DDT node about an EID as a Map-Resolver would, and follows
 * the Map-Referrals down the tree, one step after the other. Changes nothing anywhere, except that a
 * Map-Server that knows the EID sends the Map-Request on to its ETR.
 */
import { formatAddressText, formatEidPrefixText } from '../config/address-text.js'
import { equalIpAddresses, type IpAddress } from '../lisp/address.js'
import { coversEid, type Eid } from '../lisp/eid.js'
import type { ReferralRecord } from '../lisp/map-referral.js'
import { type ControlExchange, openExchange } from './control-exchange.js'

export interface RigOptions {
  readonly eid: Eid
  readonly ddtNode: IpAddress
  readonly from?: IpAddress | undefined
  readonly port?: number | undefined
  /** Per node asked. */
  readonly tries?: number | undefined
  readonly waitMs?: number | undefined
  /** False: ask the one node and stop. */
  readonly follow?: boolean | undefined
  /** Ask every RLOC of a referral instead of the first that answers. */
  readonly all?: boolean | undefined
}

/** One node asked. */
export interface RigStep {
  /** How far down, 0 for the node named on the command line. */
  readonly depth: number
  readonly node: string
  /** Undefined: no answer. */
  readonly referral: RigReferral | undefined
}

export interface RigReferral {
  readonly from: string
  readonly roundTripMs: number
  readonly action: ReferralRecord['action']
  readonly eidPrefix: string
  readonly ttlMinutes: number
  readonly authoritative: boolean
  readonly incomplete: boolean
  readonly signatures: number
  readonly locators: readonly {
    rloc: string
    priority: number
    weight: number
    reachable: boolean
  }[]
}

export interface RigResult {
  readonly steps: readonly RigStep[]
  /** Why it ended: the last action, or that something was wrong. */
  readonly end: ReferralRecord['action'] | 'no-answer' | 'loop' | 'too-deep' | 'not-followed'
}

/** Our choice: no tree has so many levels; a node that makes up referrals shall not hold us. */
const MAXIMUM_DEPTH = 32

/** Asks and follows; rejects on socket errors. */
export async function followReferrals(options: RigOptions): Promise<RigResult> {
  const exchange = await openExchange(options.ddtNode, options.from)
  try {
    return await walk(exchange, options)
  } finally {
    exchange.close()
  }
}

async function walk(exchange: ControlExchange, options: RigOptions): Promise<RigResult> {
  const steps: RigStep[] = []
  let nodes: readonly IpAddress[] = [options.ddtNode]
  let reached = -1
  for (let depth = 0; depth <= MAXIMUM_DEPTH; depth += 1) {
    let best: ReferralRecord | undefined
    for (const node of nodes) {
      const { step, record } = await askNode(exchange, options, node, depth)
      steps.push(step)
      best = best === undefined || isBetter(record, best) ? (record ?? best) : best
      if (best !== undefined && !options.all && best.action !== 'ms-not-registered') break
    }
    if (best === undefined) return { steps, end: 'no-answer' }
    const { action, eidPrefix, locators } = best
    if (action !== 'node-referral' && action !== 'ms-referral') return { steps, end: action }
    // RFC 8111 §7.3.4: down the tree, or it is a loop.
    if (eidPrefix.maskLength <= reached) return { steps, end: 'loop' }
    if (options.follow === false) return { steps, end: 'not-followed' }
    reached = eidPrefix.maskLength
    nodes = distinct(locators.map(({ rloc }) => rloc)).filter(
      (rloc) => rloc.family === options.ddtNode.family,
    )
  }
  return { steps, end: 'too-deep' }
}

async function askNode(
  exchange: ControlExchange,
  options: RigOptions,
  node: IpAddress,
  depth: number,
): Promise<{ step: RigStep; record: ReferralRecord | undefined }> {
  const { eid, port, tries = 3, waitMs = 1000 } = options
  const question = { eid, to: node, port, ddt: true, tries, waitMs }
  const answer = await exchange.ask(question, 'map-referral')
  const record = answer?.message.records.find(({ eidPrefix }) => coversEid(eidPrefix, eid))
  const name = formatAddressText(node)
  if (answer === undefined || record === undefined) {
    return { step: { depth, node: name, referral: undefined }, record: undefined }
  }
  const referral: RigReferral = {
    from: answer.from,
    roundTripMs: Math.round(answer.roundTripMs * 100) / 100,
    action: record.action,
    eidPrefix: formatEidPrefixText(record.eidPrefix),
    ttlMinutes: record.ttlMinutes,
    authoritative: record.authoritative,
    incomplete: record.incomplete,
    signatures: record.signatures.length,
    locators: record.locators.map(({ rloc, priority, weight, reachable }) => ({
      rloc: formatAddressText(rloc),
      priority,
      weight,
      reachable,
    })),
  }
  return { step: { depth, node: name, referral }, record }
}

/** Where nodes of one set differ, one that knows the EID counts more than one that does not. */
function isBetter(record: ReferralRecord | undefined, best: ReferralRecord): boolean {
  return record !== undefined && best.action === 'ms-not-registered'
}

function distinct(addresses: readonly IpAddress[]): IpAddress[] {
  return addresses.filter(
    (one, index) => addresses.findIndex((other) => equalIpAddresses(one, other)) === index,
  )
}
