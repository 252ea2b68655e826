/**
 * One question to a Map-Resolver without any daemon (RFC 6835): an encapsulated Map-Request, and
 * the Map-Reply that carries its nonce.
 */
import type { IpAddress } from '../lisp/address.js'
import type { Eid } from '../lisp/eid.js'
import type { Mapping } from '../lisp/mapping.js'
import { openExchange } from './control-exchange.js'

export interface LigAnswer {
  readonly mappings: readonly Mapping[]
  /** Who answered: an ETR, or a Map-Server on its behalf. */
  readonly from: string
  /** Round-trip time of the request that was answered. */
  readonly tookMs: number
  /** Requests sent. */
  readonly tries: number
}

export interface LigOptions {
  readonly eid: Eid
  readonly mapResolver: IpAddress
  /** Our address, to which answers are sent; default: the one that routing chooses. */
  readonly from?: IpAddress
  readonly port?: number
  readonly tries?: number
  readonly waitMs?: number
  /** A bit. */
  readonly authoritative?: boolean
}

/** The answer, or undefined when none came in `tries` × `waitMs`. Rejects on socket errors. */
export async function queryMapping(options: LigOptions): Promise<LigAnswer | undefined> {
  const { mapResolver: to, tries = 3, waitMs = 1000, eid, port, authoritative } = options
  const exchange = await openExchange(to, options.from)
  try {
    const question = { eid, to, port, authoritative, tries, waitMs }
    const answer = await exchange.ask(question, 'map-reply')
    if (answer === undefined) return undefined
    const { message, from, roundTripMs: tookMs, tries: asked } = answer
    return { mappings: message.records, from, tookMs, tries: asked }
  } finally {
    exchange.close()
  }
}
