/**
 * Which entries of a table a request wants: by instance-ID, by longest match of an EID, page by
 * page.
 */

import { parseEidPrefixText, parseEidText } from '../config/address-text.js'
import { Type } from '../config/schema-builder.js'
import { type Eid, type EidPrefix, eidPrefix, formatEidPrefix } from '../lisp/eid.js'
import { ApiError } from './errors.js'

export const SelectionQuery = Type.Object(
  {
    eid: Type.Optional(
      Type.String({
        description: 'Only the longest match of this EID, as 10.1.0.5 or [7]10.1.0.5',
      }),
    ),
    instanceId: Type.Optional(Type.Integer({ minimum: 0, maximum: 0xffffff })),
    limit: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 10_000,
        default: 1000,
        description: 'At most so many entries; total says how many there are',
      }),
    ),
    offset: Type.Optional(
      Type.Integer({
        minimum: 0,
        default: 0,
        description:
          'Leave out so many first. Entries that come and go between two pages may be missed or repeated',
      }),
    ),
  },
  { additionalProperties: false },
)

export interface Selection {
  readonly eid?: string
  readonly instanceId?: number
  readonly limit?: number
  readonly offset?: number
}

/** What every answer with a page of a table says beside the page. */
export const pageFields = {
  total: Type.Integer({ description: 'Entries that fit the query, on all pages' }),
  offset: Type.Integer({ description: 'Entries left out before the first one here' }),
  ageMs: Type.Number({ description: 'ms since the table was so; not 0 only for large tables' }),
}

export interface Page<T> {
  readonly total: number
  readonly offset: number
  readonly ageMs: number
  readonly entries: readonly T[]
}

/**
 * The entries that fit, from `offset` on and cut by `limit`, and how many fit in all. Throws 400 for
 * a bad EID. Nothing is done to entries that are not returned but looking at their prefix.
 */
export function selectEntries<T extends { eidPrefix: string; instanceId: number }>(
  { table, ageMs }: { readonly table: readonly T[]; readonly ageMs: number },
  query: Selection,
): Page<T> {
  const { instanceId, limit = DEFAULT_LIMIT, offset = 0 } = query
  const age = Math.round(ageMs)
  if (query.eid !== undefined) {
    const best = longestMatches(table, readEid(query.eid, instanceId, 'query.eid'))
    const entries = best.slice(offset, offset + limit)
    return { total: best.length, offset, ageMs: age, entries }
  }
  const fitting =
    instanceId === undefined ? table : table.filter((entry) => entry.instanceId === instanceId)
  const entries = fitting.slice(offset, offset + limit)
  return { total: fitting.length, offset, ageMs: age, entries }
}

/** The entries of the longest prefix that covers the EID: several where several registered it. */
export function longestMatches<T extends { eidPrefix: string }>(
  table: readonly T[],
  eid: Eid,
): T[] {
  const lengths = new Map<string, number>()
  // All texts that can match, so that no entry has to be parsed: tables hold canonical text.
  for (let length = 0; length <= eid.address.bytes.length * 8; length += 1) {
    lengths.set(formatEidPrefix(eidPrefix(eid.instanceId, eid.address, length)), length)
  }
  let best: T[] = []
  let longest = -1
  for (const entry of table) {
    const length = lengths.get(entry.eidPrefix)
    if (length === undefined || length < longest) continue
    if (length > longest) best = []
    longest = length
    best.push(entry)
  }
  return best
}

/** An EID of a request; throws 400 naming `field`. */
export function readEid(text: string, instanceId: number | undefined, field: string): Eid {
  const eid = parseEidText(text, instanceId ?? 0)
  if (eid !== undefined) return eid
  const message = `"${text}" is not an EID; write 10.1.0.5 or [7]10.1.0.5`
  throw new ApiError(400, 'invalid-eid', message, field)
}

/** An EID-prefix of a request; throws 400 naming `field`. */
export function readEidPrefix(
  text: string,
  instanceId: number | undefined,
  field: string,
): EidPrefix {
  const prefix = parseEidPrefixText(text, instanceId ?? 0)
  if (prefix !== undefined) return prefix
  const message = `"${text}" is not an EID-prefix; write 10.1.0.0/16, host bits zero`
  throw new ApiError(400, 'invalid-eid-prefix', message, field)
}

const DEFAULT_LIMIT = 1000
