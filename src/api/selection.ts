/**
 * Which entries of a table a request wants: by instance-ID, by longest match of an EID, the first
 * N.
 */
import { Type } from 'typebox'
import {
  formatEidPrefixText,
  parseEidPrefixText,
  parseEidText,
  prefixCoversAddress,
} from '../config/address-text.js'
import type { Eid, EidPrefix } from '../lisp/eid.js'
import { ApiError } from './errors.js'

export const SelectionQuery = Type.Object(
  {
    eid: Type.Optional(
      Type.String({
        description: 'Only the longest match of this EID, as 10.1.0.5 or [7]10.1.0.5',
      }),
    ),
    instanceId: Type.Optional(Type.Integer({ minimum: 0, maximum: 0xffffff })),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100_000, default: 10_000 })),
  },
  { additionalProperties: false },
)

export interface Selection {
  readonly eid?: string
  readonly instanceId?: number
  readonly limit?: number
}

/** The entries that fit, and how many fit before `limit` cut them. Throws 400 for a bad EID. */
export function selectEntries<T extends { eidPrefix: string; instanceId: number }>(
  entries: readonly T[],
  query: Selection,
): { total: number; entries: T[] } {
  const inInstance =
    query.instanceId === undefined
      ? entries
      : entries.filter(({ instanceId }) => instanceId === query.instanceId)
  if (query.eid === undefined) {
    const limit = query.limit ?? DEFAULT_LIMIT
    return { total: inInstance.length, entries: inInstance.slice(0, limit) }
  }
  const eid = readEid(query.eid, query.instanceId, 'query.eid')
  let best: { entry: T; maskLength: number } | undefined
  for (const entry of inInstance) {
    const prefix = parseEidPrefixText(entry.eidPrefix, entry.instanceId)
    if (prefix === undefined || prefix.instanceId !== eid.instanceId) continue
    if (!prefixCoversAddress(prefix, eid.address)) continue
    if (best === undefined || prefix.maskLength > best.maskLength) {
      best = { entry, maskLength: prefix.maskLength }
    }
  }
  return best === undefined ? { total: 0, entries: [] } : { total: 1, entries: [best.entry] }
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

/** One spelling for joining tables whose writers may or may not put the instance-ID in the text. */
export function prefixKey(text: string, instanceId: number): string {
  const prefix = parseEidPrefixText(text, instanceId)
  return prefix === undefined ? text : formatEidPrefixText(prefix)
}

const DEFAULT_LIMIT = 10_000
