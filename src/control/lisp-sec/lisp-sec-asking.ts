/**
 * The ITR's side of LISP-SEC (RFC 9303 §6.4, §6.9): a fresh one-time key for every Map-Request, and
 * whether the Map-Reply that comes is the Map-Server's and the ETR's own.
 *
 * Modes: `require` believes nothing else. `offer` asks with LISP-SEC twice and then plainly, and plainly
 * at once when the answer was plain or said that no ETR can sign: it protects against whoever forges
 * answers, not against whoever can also suppress questions. A plain answer to a protected request is
 * never believed (§6.9).
 *
 * Choices: the RFC has the intersection of record and EID-AD cached; a record inside of the EID-AD is
 * its own intersection, a wider one claims what nobody has proven and is dropped. An answer under
 * another algorithm makes us ask for that one only when its EID-AD is genuine, so that nobody on the
 * way can choose a weaker one. The one-time key is made of 128 fresh random bits by HMAC under the
 * pre-shared key, so that a record of the random numbers does not tell it.
 */
import type { NodeConfig, WrappingKey } from '../../config/node-config.js'
import { equalIpAddresses } from '../../lisp/address.js'
import type { AuthenticationKey } from '../../lisp/authentication.js'
import { coversPrefix, type EidPrefix } from '../../lisp/eid.js'
import type { Rloc } from '../../lisp/locator.js'
import type { Mapping } from '../../lisp/mapping.js'
import type { MapReply } from '../../lisp/message.js'
import type { EcmAuthenticationData, MapReplySecurity } from '../../lisp/security-data.js'
import type { Capabilities } from '../capabilities.js'
import {
  deriveOneTimeKey,
  HMAC_ID,
  isGenuineEidAuthentication,
  isGenuinePacket,
  KDF,
  OTK_BYTES,
  subscriptionKey,
  wrapOneTimeKey,
} from './lisp-sec-keys.js'
import { primitivesOf } from './lisp-sec-requests.js'

/** The algorithms of a request: HMAC ID and KDF ID of RFC 9303 §8.3, §8.5. */
export interface Algorithms {
  readonly hmacId: number
  readonly kdfId: number
}

/** What is kept with the nonce of a protected request, and forgotten with it. */
export interface Asked {
  readonly otk: Uint8Array
  readonly algorithms: Algorithms
  readonly data: EcmAuthenticationData
}

export type ReplyVerdict =
  /** `overClaims`: prefixes that no EID-AD covers; their records are left out. */
  | {
      readonly kind: 'believed'
      readonly records: readonly Mapping[]
      readonly overClaims: readonly EidPrefix[]
    }
  /** Genuine, and says that only a request without LISP-SEC would find an ETR (E bit). */
  | { readonly kind: 'nobody-signs' }
  | { readonly kind: 'discard'; readonly reason: string; readonly retry?: Retry }

/** How to ask again, as soon as the rate allows. */
export type Retry = Algorithms | 'plainly'

export interface ProtectedAsking {
  /**
   * A one-time key for the request with this nonce. 'plainly': the mode is `offer` and its tries are
   * over, or there is no key for this Map-Resolver. 'unable': there is none and the mode is `require`.
   */
  protect(
    nonce: bigint,
    resolver: Rloc,
    attempt: number,
    algorithms: Algorithms,
  ): Asked | 'plainly' | 'unable'
  /** `asked` belongs to the nonce of the reply; undefined when the request was sent plainly. */
  judge(reply: MapReply, bytes: Uint8Array, asked: Asked | undefined): ReplyVerdict
  /** The key of publications that the request began (RFC 9437 §7.1). */
  subscriptionKey(asked: Asked, nonce: bigint): AuthenticationKey
}

/** What is asked for first: what RFC 9303 makes mandatory. */
export const FIRST_CHOICE: Algorithms = { hmacId: HMAC_ID.sha256, kdfId: KDF.hkdfSha256 }
/** Our choice, as for subscriptions: tries with LISP-SEC where the mode is `offer`. */
const OFFERED_TRIES = 2

/** Undefined: the node asks plainly, always. */
export function createProtectedAsking(
  config: NodeConfig,
  capabilities: Capabilities,
): ProtectedAsking | undefined {
  const { security } = config
  if (security === undefined || security.mode === 'off') return undefined
  const { random } = capabilities
  const primitives = primitivesOf(capabilities)
  const { hmac } = primitives
  const required = security.mode === 'require'

  function freshKey({ secret }: WrappingKey): Uint8Array {
    const drawn = new DataView(new ArrayBuffer(OTK_BYTES))
    drawn.setBigUint64(0, random.nonce())
    drawn.setBigUint64(8, random.nonce())
    const made = hmac('sha256', secret, new Uint8Array(drawn.buffer))
    return new Uint8Array(made.subarray(0, OTK_BYTES))
  }

  function keyFor(resolver: Rloc): WrappingKey | undefined {
    return security!.mapResolvers.find(({ address }) => equalIpAddresses(address, resolver))?.key
  }

  /** Why a protected reply is not believed; undefined when both of its proofs hold. */
  function objection(
    { eidAuthentication, packetHmacId }: MapReplySecurity,
    bytes: Uint8Array,
    { otk, algorithms }: Asked,
  ): Extract<ReplyVerdict, { kind: 'discard' }> | undefined {
    const { kdfId, proof } = eidAuthentication
    if (proof === undefined) return { kind: 'discard', reason: 'no-eid-proof' }
    if (!isGenuineEidAuthentication(bytes, proof, otk, hmac))
      return { kind: 'discard', reason: 'eid-authentication' }
    const serverKey = deriveOneTimeKey(kdfId, otk, hmac)
    if (serverKey === undefined) return { kind: 'discard', reason: 'unknown-kdf' }
    if (!isGenuinePacket(bytes, packetHmacId, serverKey, hmac))
      return { kind: 'discard', reason: 'packet-authentication' }
    const isAsAsked =
      isAnswer(kdfId, algorithms.kdfId) &&
      isAnswer(proof.hmacId, algorithms.hmacId) &&
      isAnswer(packetHmacId, algorithms.hmacId)
    if (isAsAsked) return undefined
    return { kind: 'discard', reason: 'algorithm', retry: { hmacId: proof.hmacId, kdfId } }
  }

  return {
    protect(nonce, resolver, attempt, algorithms) {
      if (!required && attempt >= OFFERED_TRIES) return 'plainly'
      const key = keyFor(resolver)
      if (key === undefined) return required ? 'unable' : 'plainly'
      const otk = freshKey(key)
      const { keyId, wrapping: id, secret } = key
      const data: EcmAuthenticationData = {
        requestedHmacId: algorithms.hmacId,
        oneTimeKey: wrapOneTimeKey(otk, { id, keyId, secret }, nonce, primitives),
        // RFC 9303 §6.4: the KDF ID alone, four bytes.
        eidAuthentication: { kdfId: algorithms.kdfId },
      }
      return { otk, algorithms, data }
    },
    judge(reply, bytes, asked) {
      if (asked === undefined) return { kind: 'believed', records: reply.records, overClaims: [] }
      const { security: proofs, records } = reply
      if (proofs === undefined) {
        const retry: { retry?: Retry } = required ? {} : { retry: 'plainly' }
        return { kind: 'discard', reason: 'unprotected', ...retry }
      }
      const wrong = objection(proofs, bytes, asked)
      if (wrong !== undefined) return wrong
      const { eidPrefixes, etrCantSign } = proofs.eidAuthentication.proof!
      const isNegative = records.every(({ locators }) => locators.length === 0)
      if (etrCantSign && isNegative && !required) return { kind: 'nobody-signs' }
      const isProven = ({ eidPrefix }: Mapping): boolean =>
        eidPrefixes.some((proven) => coversPrefix(proven, eidPrefix))
      const overClaims = records.filter((one) => !isProven(one)).map((one) => one.eidPrefix)
      return { kind: 'believed', records: records.filter(isProven), overClaims }
    },
    subscriptionKey: ({ otk, data }, nonce) => subscriptionKey(otk, data.oneTimeKey, nonce, hmac),
  }
}

/** An algorithm as asked for; whoever asks for none in particular takes any. */
function isAnswer(given: number, asked: number): boolean {
  return asked === 0 || given === asked
}
