/**
 * Which entries of a table a request wants: by instance-ID, by longest match of an EID, page by
 * page. The node finds them (control/table-pages.ts).
 */

import { parseEidPrefixText, parseEidText } from '../config/address-text.js'
import { Type } from '../config/schema-builder.js'
import type { TablePage, TableQuery } from '../control/table-pages.js'
import { type Eid, type EidPrefix, eidPrefix, formatEidPrefix } from '../lisp/eid.js'
import { ApiError } from './errors.js'

/** Choice: a page of so many takes some 10 ms of the thread that answers packets' questions. */
export const MAXIMUM_LIMIT = 1000

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
        maximum: MAXIMUM_LIMIT,
        default: MAXIMUM_LIMIT,
        description: 'At most so many entries; total says how many there are',
      }),
    ),
    after: Type.Optional(
      Type.String({
        description: 'Only entries after this EID-prefix: `next` of the page before',
      }),
    ),
  },
  { additionalProperties: false },
)

export interface Selection {
  readonly eid?: string
  readonly instanceId?: number
  readonly limit?: number
  readonly after?: string
}

/** What every answer with a page of a table says beside the page. */
export const pageFields = {
  total: Type.Integer({ description: 'EID-prefixes that fit the query, on all pages' }),
  next: Type.Optional(
    Type.String({ description: 'The last EID-prefix of this page; absent on the last page' }),
  ),
}

/** What of a page stands beside its entries. */
export function pageBeside({ total, next }: TablePage<unknown>): { total: number; next?: string } {
  return { total, ...(next === undefined ? {} : { next }) }
}

/** The query as the node takes it. Throws 400 for a bad EID or EID-prefix. */
export function readQuery(query: Selection): TableQuery {
  const { eid, instanceId, limit = MAXIMUM_LIMIT, after } = query
  return {
    limit,
    instanceId,
    eid: eid === undefined ? undefined : readEid(eid, instanceId, 'query.eid'),
    after: after === undefined ? undefined : readEidPrefix(after, instanceId, 'query.after'),
  }
}

/**
 * A page of a table that is made as a whole, in the order of its prefixes' text. Throws 400 for a bad
 * EID or EID-prefix.
 */
export function pageOfViews<T extends { eidPrefix: string; instanceId: number }>(
  table: readonly T[],
  query: Selection,
): TablePage<T> {
  const { limit, eid, instanceId, after } = readQuery(query)
  if (eid !== undefined) {
    const entries = longestMatches(table, eid)
    return { entries, total: entries.length, next: undefined }
  }
  const fitting = table.filter((one) => instanceId === undefined || one.instanceId === instanceId)
  fitting.sort((a, b) => (a.eidPrefix < b.eidPrefix ? -1 : a.eidPrefix > b.eidPrefix ? 1 : 0))
  const from = after === undefined ? '' : formatEidPrefix(after)
  const rest = fitting.filter(({ eidPrefix }) => eidPrefix > from)
  // Whole prefixes only, as many subscribers as one may have.
  let end = Math.min(limit, rest.length)
  while (end < rest.length && rest[end]!.eidPrefix === rest[end - 1]!.eidPrefix) end += 1
  const next = end < rest.length ? rest[end - 1]!.eidPrefix : undefined
  return { entries: rest.slice(0, end), total: fitting.length, next }
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
