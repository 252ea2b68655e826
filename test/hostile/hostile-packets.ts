/**
 * The packets of a live attack: what a node of the lab really receives, damaged as in test/fuzz, and
 * partly put right again (checksums inside an ECM, authentication data under the key of an insider),
 * so that they get as far as a bad packet can. The same seed gives the same packets.
 *
 * An insider's key may change what the insider owns and nothing else; a Map-Notify under the key that
 * the victim shares with its Map-Server would be no attack, so those are signed with a wrong key.
 */
import { createHash, createHmac } from 'node:crypto'
import {
  type AuthenticationKey,
  encodeSigned,
  type Hmac,
  signMessage,
} from '../../src/lisp/authentication.js'
import { decodeMessage, encodeMessage, type Message } from '../../src/lisp/message.js'
import { MAX_INPUT_BYTES, mutate, type Seed, seedOf } from '../fuzz/mutations.js'
import { createChance } from '../fuzz/random-bytes.js'
import { repairEncapsulated } from '../fuzz/repair-checksums.js'
import { messageSeeds } from '../fuzz/seeds.js'
import {
  aLocator,
  aMapping,
  aMapRegister,
  aMapRequest,
  anAddress,
  anEid,
  anIdentity,
  aPrefix,
} from '../support/builders.js'

/** Who is attacked, and what belongs to whom there. */
export interface Aim {
  readonly kind: 'map-server' | 'xtr'
  /** A key of the Map-Server whose owner attacks, and its prefix. */
  readonly insider: AuthenticationKey
  readonly insiderPrefix: string
  /** Prefixes that exist. */
  readonly prefixes: readonly string[]
}

export interface HostilePackets {
  /** The packet with this number; valid until the next call. */
  packet(number: number): Uint8Array
}

/** As many as there are other seeds, about. */
const REPETITIONS = 6

const hmac: Hmac = (hash, key, data) => new Uint8Array(createHmac(hash, key).update(data).digest())

export function createHostilePackets(seed: number, aim: Aim): HostilePackets {
  const own = ownMessages(aim)
  const decodes = (bytes: Uint8Array): boolean => decodeMessage(bytes).kind !== 'malformed'
  const known = own.map((bytes) => seedOf(bytes, decodes))
  const seeds: Seed[] = [
    ...messageSeeds().map((bytes) => seedOf(bytes, decodes)),
    // Half of the originals are about this very network.
    ...Array.from({ length: REPETITIONS }, () => known).flat(),
  ]
  const room = new Uint8Array(MAX_INPUT_BYTES)
  const chance = createChance(seed, 0)
  const wrong = { ...aim.insider, secret: createHash('sha256').update('wrong').digest() }

  return {
    packet(number) {
      chance.restart(seed, number)
      const bytes = room.subarray(0, mutate(chance, seeds, room))
      if (number % 3 === 0) repairEncapsulated(bytes)
      if (number % 4 === 0)
        sign(bytes, number % 8 === 0 && aim.kind === 'map-server' ? aim.insider : wrong)
      return bytes
    },
  }
}

/** Puts authentication data under `key` into what has room for it. */
function sign(bytes: Uint8Array, key: AuthenticationKey): void {
  const length = bytes.length < 16 ? -1 : (bytes[14]! << 8) | bytes[15]!
  const type = (bytes[0] ?? 0) >> 4
  if (![3, 4, 5].includes(type) || length !== 16 || bytes.length < 32) return
  signMessage(bytes, key, hmac)
}

function ownMessages(aim: Aim): Uint8Array[] {
  const unsigned = { keyId: 0, algorithm: 0, authenticationData: new Uint8Array(16) }
  const messages: Message[] = aim.prefixes.flatMap((eidPrefix, index) => {
    const nonce = BigInt(index + 1) << 32n
    const itrRlocs = [anAddress(`172.16.67.${index + 1}`), anAddress('fd00:c:3::1')]
    const request = aMapRequest({ eidPrefix, nonce, itrRlocs })
    const subscribe = [{ subscribe: true, eidPrefix: aPrefix(eidPrefix) }]
    const about = { records: subscribe, identity: anIdentity(index) }
    const mapping = aMapping({ eidPrefix, locators: ['172.16.66.66', aLocator('fd00:66::1')] })
    const answer = { rlocProbe: false, echoNonceCapable: false, nonce, records: [mapping] }
    return [
      enveloped(request),
      enveloped({ ...request, ...about }),
      { ...request, rlocProbe: true },
      { ...request, solicitMapRequest: true, sourceEid: anEid(eidPrefix.replace(/\/.*/, '')) },
      { kind: 'map-reply', ...answer },
      { kind: 'map-notify', nonce, records: [mapping], identity: undefined, ...unsigned },
      { kind: 'map-notify-ack', nonce, records: [mapping], identity: undefined, ...unsigned },
    ]
  })
  const registers = Array.from({ length: 8 }, (_, index) =>
    aMapRegister({
      nonce: BigInt(index + 1),
      identity: anIdentity(0xe0 + index),
      records: [aMapping({ eidPrefix: `${aim.insiderPrefix}.${index}/32` })],
    }),
  )
  return [
    ...messages.map(encodeMessage),
    ...registers.map((register) => encodeSigned(register, aim.insider, hmac)),
  ]
}

function enveloped(request: Parameters<typeof encodeMessage>[0]): Message {
  return {
    kind: 'encapsulated-control',
    ...{ security: false, ddtOriginated: false },
    innerSource: anAddress('172.16.67.1'),
    innerDestination: anAddress('10.66.0.1'),
    ...{ innerSourcePort: 4342, innerDestinationPort: 4342 },
    message: encodeMessage(request),
  }
}

/** A question that is to be answered: of the source with this index, about the prefix. */
export function goodQuestion(
  kind: Aim['kind'],
  source: string,
  eidPrefix: string,
  nonce: bigint,
): Uint8Array {
  const request = aMapRequest({ eidPrefix, nonce, itrRlocs: [anAddress(source)] })
  return encodeMessage(kind === 'map-server' ? enveloped(request) : { ...request, rlocProbe: true })
}
