/**
 * What a Map-Resolver believes of a signed delegation tree (RFC 8111 §10.4): it holds the public keys
 * of the roots, and each signed referral names those of the next nodes (LCAF 11 in its locators).
 *
 * Who has keys must sign, or is not listened to. A delegation that names no keys leads into an
 * unsigned part of the tree, as in DNSSEC. A revoked key (R bit) is no key of the nodes that it stands
 * with; a record that revokes the key it is signed with proves just that (§10.2.1), and the key is not
 * believed again while this node runs.
 */
import type { NodeConfig } from '../../config/node-config.js'
import type { ReferralRecord, ReferralSignature } from '../../lisp/map-referral.js'
import type { Capabilities, Instant } from '../capabilities.js'
import { keyTagOf, RSA_SHA256, signedBytes } from './ddt-signing.js'

export interface DdtTrust {
  readonly rootKeys: readonly Uint8Array[]
  /** The keys that a (believed) record gives to the nodes it names. */
  childKeys(record: ReferralRecord): readonly Uint8Array[]
  /** Why the record is not believed, when `keys` are those of its sender; undefined when it is. */
  objectionTo(
    record: ReferralRecord,
    keys: readonly Uint8Array[],
    now: Instant,
  ): 'unsigned' | 'bad-signature' | 'key-revoked' | undefined
}

/** Our choice: keys of one referral; each may cost a verification. */
const MAXIMUM_CHILD_KEYS = 8
/** Our choice: signatures of one record that are tried. */
const MAXIMUM_TRIED = 8
/** Our choice: revocations remembered; only holders of believed keys can add one, of their own key. */
const MAXIMUM_REVOKED = 1024

/** Undefined when no root key is configured. Throws when one is and there is no way to verify. */
export function createDdtTrust(
  config: NodeConfig,
  capabilities: Capabilities,
): DdtTrust | undefined {
  const rootKeys = config.ddt.rootKeys ?? []
  if (rootKeys.length === 0) return undefined
  const { signatures } = capabilities
  if (signatures === undefined) throw new Error('root keys without the means to verify')
  const revoked = new Set<string>()

  function isGood(
    record: ReferralRecord,
    one: ReferralSignature,
    key: Uint8Array,
    seconds: number,
  ): boolean {
    if (one.algorithm !== RSA_SHA256 || one.keyTag !== keyTagOf(key)) return false
    if (seconds < one.inception || seconds > one.expiration) return false
    // It may be passed on with less time to live, never with more.
    if (record.ttlMinutes > one.originalTtl) return false
    return signatures!.verify(key, signedBytes(record, one), one.signature)
  }

  return {
    rootKeys,
    childKeys(record) {
      const withdrawn = new Set(keysIn(record, true).map(nameOf))
      const keys = keysIn(record, false).filter((key) => {
        return !withdrawn.has(nameOf(key)) && !revoked.has(nameOf(key))
      })
      return keys.slice(0, MAXIMUM_CHILD_KEYS)
    },
    objectionTo(record, keys, now) {
      if (keys.length === 0) return undefined
      if (record.signatures.length === 0) return 'unsigned'
      const seconds = signatures.unixSeconds(now)
      const usable = keys.filter((key) => !revoked.has(nameOf(key)))
      for (const one of record.signatures.slice(0, MAXIMUM_TRIED)) {
        const signer = usable.find((key) => isGood(record, one, key, seconds))
        if (signer === undefined) continue
        if (!keysIn(record, true).some((key) => nameOf(key) === nameOf(signer))) return undefined
        if (revoked.size < MAXIMUM_REVOKED) revoked.add(nameOf(signer))
        return 'key-revoked'
      }
      return 'bad-signature'
    },
  }
}

function keysIn(record: ReferralRecord, revoked: boolean): Uint8Array[] {
  const found: Uint8Array[] = []
  for (const { structure } of record.locators) {
    if (structure?.kind !== 'security-key' || structure.revoked !== revoked) continue
    // The nodes of one referral mostly share their keys.
    for (const key of structure.keys) {
      if (!found.some((other) => nameOf(other) === nameOf(key))) found.push(key)
    }
  }
  return found
}

function nameOf(key: Uint8Array): string {
  return key.join()
}
