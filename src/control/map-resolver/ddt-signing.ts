/**
 * Signed Map-Referrals (RFC 8111 §6.4.1, §10): what a signature covers, making them, and the tag by
 * which a key is named. The public-key operations are capabilities; RSA-SHA256 is the only algorithm
 * made and believed (RSA-SHA1 must not be used).
 *
 * A signature covers the whole record with its original TTL and with zeros in place of signatures. Of
 * several sections each covers all, as no other reading of "the entire record" has an order of making.
 * Choices, where the RFC is silent or unsafe: it is valid from an hour ago for two days, longer
 * than any referral is remembered, and made anew after half a day. Fresh ones are limited, because
 * each costs a millisecond and anybody can ask for another hole; a referral that would exceed the
 * limit is not sent. A key's tag is the checksum of RFC 4034 appendix B over its DER.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { formatEidPrefix } from '../../lisp/eid.js'
import {
  encodeReferralRecord,
  type ReferralRecord,
  type ReferralSignature,
} from '../../lisp/map-referral.js'
import type { Capabilities, Instant } from '../capabilities.js'
import { createRateLimit } from '../rate-limit.js'

export interface DdtSigning {
  /** The record with a signature of every key of ours; undefined when the limit is reached. */
  sign(record: ReferralRecord, now: Instant): ReferralRecord | undefined
}

/** RFC 8111 §6.4.1. */
export const RSA_SHA256 = 2
const BACKDATED_SECONDS = 3600
const VALID_SECONDS = 2 * 86_400
const SIGN_AGAIN_MS = 12 * 3_600_000
const FRESH_SIGNATURES = { burst: 200, refillPerSecond: 100, maximumKeys: 1 }
/** Delegations are few; holes are as many as anybody asks for. */
const MAXIMUM_KEPT = 4096

/** Undefined when this node has no key. Throws when it has one and nothing to sign with. */
export function createDdtSigning(
  config: NodeConfig,
  capabilities: Capabilities,
): DdtSigning | undefined {
  const keys = config.ddt.signingKeys ?? []
  if (keys.length === 0) return undefined
  const { signatures } = capabilities
  if (signatures === undefined) throw new Error('signing keys without the means to sign')
  const limit = createRateLimit(FRESH_SIGNATURES)
  const kept = new Map<
    string,
    { readonly made: readonly ReferralSignature[]; readonly until: Instant }
  >()
  const tagged = keys.map((key) => ({
    ...key,
    keyTag: keyTagOf(key.publicKey),
    // The length is a matter of the key; one signature tells it.
    unmade: signatures.sign(key.privateKey, new Uint8Array(0)).fill(0),
  }))

  function fresh(record: ReferralRecord, now: Instant): ReferralSignature[] {
    const seconds = Math.floor(signatures!.unixSeconds(now))
    const made = tagged.map(({ keyTag, unmade }) => ({
      originalTtl: record.ttlMinutes,
      inception: seconds - BACKDATED_SECONDS,
      expiration: seconds + VALID_SECONDS,
      keyTag,
      algorithm: RSA_SHA256,
      signature: unmade,
    }))
    const unsigned = { ...record, signatures: made }
    return made.map((one, index) => {
      const { privateKey } = tagged[index]!
      return { ...one, signature: signatures!.sign(privateKey, signedBytes(unsigned, one)) }
    })
  }

  return {
    sign(record, now) {
      const name = `${record.action} ${formatEidPrefix(record.eidPrefix)}`
      const known = kept.get(name)
      if (known !== undefined && known.until > now) return { ...record, signatures: known.made }
      if (!limit.take('fresh', now)) return undefined
      const made = fresh(record, now)
      kept.delete(name)
      kept.set(name, { made, until: now + SIGN_AGAIN_MS })
      if (kept.size > MAXIMUM_KEPT) for (const oldest of kept.keys()) if (kept.delete(oldest)) break
      return { ...record, signatures: made }
    },
  }
}

/** What one of the record's signatures is made over (RFC 8111 §6.4.1). */
export function signedBytes(
  record: ReferralRecord,
  { originalTtl }: ReferralSignature,
): Uint8Array {
  const signatures = record.signatures.map((one) => ({
    ...one,
    signature: new Uint8Array(one.signature.length),
  }))
  return encodeReferralRecord({ ...record, ttlMinutes: originalTtl, signatures })
}

/** RFC 4034 appendix B, over the key as DER; two keys may share a tag. */
export function keyTagOf(publicKey: Uint8Array): number {
  let sum = 0
  for (const [index, byte] of publicKey.entries()) sum += index % 2 === 0 ? byte << 8 : byte
  return ((sum & 0xffff) + (sum >>> 16)) & 0xffff
}
