/**
 * What a Move message may name at once, and how more than that is said in several.
 *
 * An endpoint has up to 64 EIDs; with our locators in each record they may be more than one
 * datagram takes on every path. So a question is asked in parcels under one Move ID, each with a
 * nonce of its own, and its answer is complete when each parcel has been answered: one refusal is
 * the refusal of all. What the messages mean is decided in moves.ts and move-source.ts.
 */
import { mappingBytes } from '../../lisp/mapping.js'
import type { MoveMessage } from '../../lisp/message.js'
import type { MoveContent } from './move-exchange.js'

/**
 * Records of one parcel: with header (16), authentication data (32), Move ID, MAC address and Sender
 * Count (16) and identity (24) they fit a datagram that every path of IPv6 carries (RFC 8200 §5);
 * for IPv4 our choice is the same, because no path between clouds has less.
 */
const PARCEL_BYTES = 1280 - 40 - 8 - 88

/** One content per message, in order; what has no records is one. */
export function parcelsOf(content: MoveContent): MoveContent[] {
  const parcels: MoveContent[] = []
  const { records = [] } = content
  let [from, bytes] = [0, 0]
  for (const [index, record] of records.entries()) {
    const more = mappingBytes(record)
    if (index > from && bytes + more > PARCEL_BYTES) {
      parcels.push({ ...content, records: records.slice(from, index) })
      ;[from, bytes] = [index, 0]
    }
    bytes += more
  }
  if (from === 0) return [content]
  return [...parcels, { ...content, records: records.slice(from) }]
}

/** The answers to all parcels of one question as if it had been one: all records and senders. */
export function joinAnswers(answers: readonly [MoveMessage, ...MoveMessage[]]): MoveMessage {
  const [first] = answers
  if (answers.length === 1) return first
  const groups = answers.flatMap(({ structuredRecords }) => structuredRecords ?? [])
  return {
    ...first,
    records: answers.flatMap(({ records }) => records),
    senders: answers.flatMap(({ senders }) => senders),
    ...(groups.length === 0 ? {} : { structuredRecords: groups }),
  }
}
