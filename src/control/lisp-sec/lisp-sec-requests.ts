/**
 * Protected Map-Requests where they arrive (RFC 9303 §6.6–§6.8): the one-time key of an ITR is
 * unwrapped, and what it is good for is offered as functions: a Map-Reply proven for that ITR, a task
 * for an ETR, the same key wrapped for the next Map-Server, a key for publications.
 *
 * Which of these is used is decided by the Map-Resolver, the Map-Server and the ETR. A one-time key that
 * was not wrapped with a key of ours ends the whole message (§6.5). Of an algorithm that is not known
 * here our own choice is taken, and said in the ID field (§6.7.1).
 */
import type { NodeConfig, WrappingKey } from '../../config/node-config.js'
import { equalIpAddresses } from '../../lisp/address.js'
import type { AuthenticationKey } from '../../lisp/authentication.js'
import type { EidPrefix } from '../../lisp/eid.js'
import type { Rloc } from '../../lisp/locator.js'
import { type EncapsulatedControl, encodeMessage, type MapReply } from '../../lisp/message.js'
import type { EcmAuthenticationData, EidAuthentication } from '../../lisp/security-data.js'
import type { Capabilities } from '../capabilities.js'
import { hexOf } from '../map-server/register-guard.js'
import {
  deriveOneTimeKey,
  HMAC_ID,
  hmacBytes,
  isSupported,
  KDF,
  type LispSecPrimitives,
  signEidAuthentication,
  signPacket,
  subscriptionKey,
  unwrapOneTimeKey,
  wrapOneTimeKey,
} from './lisp-sec-keys.js'

/** What a protected answer speaks of (RFC 9303 §6.7.1). */
export interface Proof {
  readonly eidPrefixes: readonly EidPrefix[]
  /** E bit: some ETR of the prefix cannot sign. */
  readonly etrCantSign: boolean
}

/** The bytes of a Map-Reply with both proofs. */
export type SignReply = (reply: MapReply) => Uint8Array

/** What an ETR needs to sign one Map-Reply. */
export interface EtrTask {
  readonly sign: SignReply
  /** The same, wrapped for an ETR that holds `key`. */
  wrappedFor(key: WrappingKey): EcmAuthenticationData
}

/** A Map-Request whose one-time key was opened. */
export interface ProtectedRequest {
  /** The Map-Server, or the Map-Resolver itself, answers. */
  reply(message: MapReply, proof: Proof): Uint8Array
  /** An ETR is to answer, with the key that is derived from the ITR's. */
  forEtr(proof: Proof): EtrTask
  /** As the ITR sent it, wrapped for the next Map-Server. */
  wrappedFor(key: WrappingKey): EcmAuthenticationData
  /** The key of a subscription that this request begins (RFC 9437 §7.1). */
  subscriptionKey(): AuthenticationKey
  /** Names the one-time key without telling it: equal for equal keys. */
  readonly mark: string
  /** Left by the Map-Server for the ETR on this very node. */
  localTask: EtrTask | undefined
}

export type Opening =
  | { readonly kind: 'plain' }
  | { readonly kind: 'protected'; readonly request: ProtectedRequest }
  | { readonly kind: 'refused'; readonly reason: string }

/** Opens what is addressed to the Map-Resolver or Map-Server; undefined: the node has no LISP-SEC. */
export type OpenRequest = (ecm: EncapsulatedControl, nonce: bigint) => Opening

export function createRequestOpening(
  config: NodeConfig,
  capabilities: Capabilities,
): OpenRequest | undefined {
  const { security } = config
  if (security === undefined || security.mode === 'off') return undefined
  const primitives = primitivesOf(capabilities)
  return (ecm, nonce) => {
    const data = ecm.securityData
    if (data === undefined) return { kind: 'plain' }
    const otk = openedKey(data, security.requesterKeys, nonce, primitives)
    if (otk === undefined) return { kind: 'refused', reason: 'one-time-key' }
    return { kind: 'protected', request: protectedRequest(otk, data, nonce, primitives) }
  }
}

/** What an ETR is to sign with; undefined when no key of ours opens it (RFC 9303 §6.8). */
export type OpenTask = (ecm: EncapsulatedControl, nonce: bigint) => SignReply | undefined

export function createTaskOpening(config: NodeConfig, capabilities: Capabilities): OpenTask {
  const keys = config.mapServers.flatMap(({ security }) => security?.keys ?? [])
  if (keys.length === 0) return () => undefined
  const primitives = primitivesOf(capabilities)
  return (ecm, nonce) => {
    const data = ecm.securityData
    if (data?.eidAuthentication.proof === undefined) return undefined
    const otk = openedKey(data, keys, nonce, primitives)
    if (otk === undefined) return undefined
    const hmacId = chosenHmac(data.requestedHmacId)
    // The EID-AD is copied as it came (RFC 9303 §6.8).
    return (reply) => signed(reply, data.eidAuthentication, hmacId, otk, primitives)
  }
}

/** Whether it is a Map-Server's word to an ETR: an ITR's EID-AD ends behind the KDF ID (§6.1). */
export function isForEtr(ecm: EncapsulatedControl): boolean {
  return ecm.securityData?.eidAuthentication.proof !== undefined
}

/** Whether answers without LISP-SEC are refused to everybody (RFC 9301 §9). */
export function requiresSecurity(config: NodeConfig): boolean {
  return config.security?.mode === 'require'
}

/** With which key a Map-Resolver wraps for this Map-Server; undefined when there is none. */
export function keyForMapServer(config: NodeConfig, address: Rloc): WrappingKey | undefined {
  const keys = config.security?.mapServers ?? []
  const named = keys.find((one) => {
    return one.address !== undefined && equalIpAddresses(one.address, address)
  })
  return (named ?? keys.find((one) => one.address === undefined))?.key
}

/** An ECM as it is sent on: with this data, or without any. */
export function withSecurity(
  ecm: EncapsulatedControl,
  data: EcmAuthenticationData | undefined,
): EncapsulatedControl {
  const { securityData: _, ...plain } = ecm
  if (data === undefined) return { ...plain, security: false }
  return { ...plain, security: true, securityData: data }
}

/** Throws when the configuration names keys and the shell gave no cipher: a fault of ours. */
export function primitivesOf({ hmac, blockCipher }: Capabilities): LispSecPrimitives {
  if (blockCipher === undefined) throw new Error('LISP-SEC is configured without a block cipher')
  return { hmac, cipher: blockCipher }
}

function openedKey(
  data: EcmAuthenticationData,
  keys: readonly WrappingKey[],
  nonce: bigint,
  primitives: LispSecPrimitives,
): Uint8Array | undefined {
  const { oneTimeKey } = data
  for (const { keyId, wrapping, secret } of keys) {
    if (keyId !== oneTimeKey.keyId) continue
    // A key in clear counts only where the configuration says that the path is secured.
    const opened = unwrapOneTimeKey(oneTimeKey, secret, nonce, wrapping === 1, primitives)
    if (opened !== undefined) return opened
  }
  return undefined
}

function protectedRequest(
  otk: Uint8Array,
  data: EcmAuthenticationData,
  nonce: bigint,
  primitives: LispSecPrimitives,
): ProtectedRequest {
  const { hmac } = primitives
  const hmacId = chosenHmac(data.requestedHmacId)
  const kdfId = chosenKdf(data.eidAuthentication.kdfId)
  const serverKey = (): Uint8Array => deriveOneTimeKey(kdfId, otk, hmac)!
  const proven = ({ eidPrefixes, etrCantSign }: Proof): EidAuthentication =>
    signEidAuthentication(kdfId, { etrCantSign, hmacId, eidPrefixes }, otk, hmac)
  return {
    reply: (message, proof) => signed(message, proven(proof), hmacId, serverKey(), primitives),
    forEtr(proof) {
      const eidAuthentication = proven(proof)
      const key = serverKey()
      return {
        sign: (reply) => signed(reply, eidAuthentication, hmacId, key, primitives),
        wrappedFor: (shared) => ({
          requestedHmacId: hmacId,
          oneTimeKey: wrapped(key, shared, nonce, primitives),
          eidAuthentication,
        }),
      }
    },
    wrappedFor: (shared) => ({ ...data, oneTimeKey: wrapped(otk, shared, nonce, primitives) }),
    subscriptionKey: () => subscriptionKey(otk, data.oneTimeKey, nonce, hmac),
    mark: hexOf(hmac('sha256', otk, MARK_LABEL).subarray(0, MARK_BYTES)),
    localTask: undefined,
  }
}

function wrapped(
  otk: Uint8Array,
  { keyId, wrapping, secret }: WrappingKey,
  nonce: bigint,
  primitives: LispSecPrimitives,
) {
  return wrapOneTimeKey(otk, { id: wrapping, keyId, secret }, nonce, primitives)
}

/** The Map-Reply with EID-AD and PKT-AD, its HMAC over everything (RFC 9303 §6.8). */
function signed(
  reply: MapReply,
  eidAuthentication: EidAuthentication,
  packetHmacId: number,
  key: Uint8Array,
  { hmac }: LispSecPrimitives,
): Uint8Array {
  const packetHmac = new Uint8Array(hmacBytes(packetHmacId))
  const security = { eidAuthentication, packetHmacId, packetHmac }
  return signPacket(encodeMessage({ ...reply, security }), packetHmacId, key, hmac)
}

function chosenHmac(requested: number): number {
  const known = isSupported(KDF.noPreference, requested) && requested !== HMAC_ID.noPreference
  return known ? requested : HMAC_ID.sha256
}

function chosenKdf(requested: number): number {
  const known = isSupported(requested, HMAC_ID.noPreference) && requested !== KDF.noPreference
  return known ? requested : KDF.hkdfSha256
}

const MARK_LABEL = new TextEncoder().encode('one-time-key-mark')
const MARK_BYTES = 16
