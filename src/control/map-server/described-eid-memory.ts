/**
 * Registrations of names and places between the table and the store.
 *
 * As for prefixes, what changes a registration is written with the nonce that said so, before it is
 * acknowledged: these carry no map-version, so that after a restart a Map-Register of before the last
 * change would else be believed again. Refreshes are not written; what is restored gets a whole
 * registration time in which its xTR can refresh it.
 */
import { byteReader } from '../../lisp/byte-reader.js'
import { byteWriter, writtenBytes } from '../../lisp/byte-writer.js'
import { type DescribedEid, describedEidOf, formatDescribedEid } from '../../lisp/described-eid.js'
import { readMapping, type StructuredMapping, writeMapping } from '../../lisp/mapping.js'
import type {
  DescribedRegistrant,
  DescribedRegistration,
} from '../../tables/described-registrations.js'
import type { Instant } from '../capabilities.js'
import type { StoredRecord } from '../stored-record.js'

/** A stored registrant, read back. */
export interface RestoredRegistrant {
  readonly eid: DescribedEid
  readonly site: string
  readonly registrant: DescribedRegistrant
}

type Stored = Extract<StoredRecord, { readonly kind: 'described-registration' }>

/** What to write so that the store says of this EID what `after` says and `before` did not. */
export function describedRecordsToStore(
  before: DescribedRegistration | undefined,
  after: DescribedRegistration,
): StoredRecord[] {
  const { eid, site, registrants } = after
  const former = before?.registrants ?? []
  const gone = former.filter(({ owner }) => !registrants.some((one) => one.owner === owner))
  const news = registrants.filter((one) => {
    const known = former.find(({ owner }) => owner === one.owner)
    return known === undefined || !saysTheSame(known, one)
  })
  return [
    ...gone.map(({ owner }) => describedRemoval(eid, site, owner)),
    ...news.map((one) => stored(eid, site, one)),
  ]
}

export function describedRemoval(eid: DescribedEid, site: string, owner: string): StoredRecord {
  return { kind: 'described-registration-removed', site, name: formatDescribedEid(eid), owner }
}

/** Undefined when the record at rest is none of a name or a place. */
export function restoredRegistrant(record: Stored, until: Instant): RestoredRegistrant | undefined {
  const { site, owner, source, keyId, proxyReply } = record
  const mapping = readMapping(byteReader(record.record))
  const eid = 'eid' in mapping ? describedEidOf(mapping.eid) : undefined
  if (eid === undefined || !('eid' in mapping)) return undefined
  const expiresAt = Math.max(record.expiresAt, until)
  const registrant = { owner, source, keyId, proxyReply, record: mapping, expiresAt }
  return { eid, site, registrant }
}

function stored(eid: DescribedEid, site: string, registrant: DescribedRegistrant): Stored {
  const { owner, source, keyId, proxyReply, record, expiresAt } = registrant
  const about = { site, name: formatDescribedEid(eid), owner, source, keyId, proxyReply, expiresAt }
  return { kind: 'described-registration', ...about, record: wireForm(record) }
}

function saysTheSame(a: DescribedRegistrant, b: DescribedRegistrant): boolean {
  if (a.proxyReply !== b.proxyReply || a.keyId !== b.keyId) return false
  const [one, other] = [wireForm(a.record), wireForm(b.record)]
  return one.length === other.length && one.every((byte, at) => byte === other[at])
}

function wireForm(record: StructuredMapping): Uint8Array {
  const writer = byteWriter()
  writeMapping(writer, record)
  return writtenBytes(writer)
}
