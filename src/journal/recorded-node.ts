/**
 * A node whose inputs and decisions are kept: the same node, with an ear at its capabilities.
 *
 * A run of a node depends on its configuration, its inputs with their moments, the numbers it draws,
 * and the HMACs it computes, and on nothing else; so these are all there is to record. A result of an
 * HMAC is kept only as far as it stands in a datagram of the same step, received or sent: what has
 * been on the wire is no secret, and keys cannot be had from it. Nothing is encoded here while the
 * node decides: `keep` gets plain values and takes its time.
 */
import { createHmac, randomBytes } from 'node:crypto'
import type { NodeConfig } from '../config/node-config.js'
import type { Capabilities, Instant, Signatures } from '../control/capabilities.js'
import type { Input, Node, Output } from '../control/input-output.js'
import type { BlockCipher } from '../control/lisp-sec/lisp-sec-keys.js'
import { createNode } from '../control/node.js'
import { type Draw, decisionHash, type JournalStep, outputWords } from './journal-format.js'

/** What happened in one step; nobody changes it afterwards. */
export interface TakenStep {
  readonly now: Instant
  readonly input: Input
  readonly draws: readonly Draw[]
  readonly macs: readonly Uint8Array[]
  readonly outputs: readonly Output[]
}

/** @param keep called once per input, before its outputs are performed */
export function createRecordedNode(
  config: NodeConfig,
  capabilities: Capabilities,
  keep: (step: TakenStep) => void,
): Node {
  // What is drawn while the node is made belongs to its first step.
  let draws: Draw[] = []
  let macs: Uint8Array[] = []
  const drawn = <T extends Draw>(value: T): T => {
    draws.push(value)
    return value
  }
  const { random, hmac, signatures, blockCipher } = capabilities
  const node = createNode(config, {
    ...capabilities,
    random: { nonce: () => drawn(random.nonce()), fraction: () => drawn(random.fraction()) },
    hmac(hash, key, data) {
      const result = hmac(hash, key, data)
      macs.push(result)
      return result
    },
    ...(signatures === undefined ? {} : { signatures: heard(signatures, drawn) }),
    ...(blockCipher === undefined ? {} : { blockCipher: watched(blockCipher, drawn) }),
  })
  return {
    handle(input, now, outputs) {
      const own: Output[] = []
      node.handle(input, now, own)
      keep({ now, input, draws, macs, outputs: own })
      draws = []
      macs = []
      for (const output of own) outputs.push(output)
    },
    deadline: () => node.deadline(),
    snapshot: (now) => node.snapshot(now),
    tables: node.tables,
  }
}

/** Signatures are public, and whether one is good is for keys that the journal does not have. */
function heard(signatures: Signatures, drawn: <T extends Draw>(value: T) => T): Signatures {
  return {
    sign: (privateKey, data) => drawn(signatures.sign(privateKey, data)),
    verify: (publicKey, data, signature) => drawn(signatures.verify(publicKey, data, signature)),
    unixSeconds: (now) => drawn(signatures.unixSeconds(now)),
  }
}

/**
 * Blocks of a key wrap. Encrypted ones tell nothing without the key. Of a decrypted one the first half
 * decides whether the wrap is genuine; the second is part of a one-time key, and a journal keeps no
 * key: what it gets instead is only equal where that was equal.
 */
function watched(cipher: BlockCipher, drawn: <T extends Draw>(value: T) => T): BlockCipher {
  const salt = randomBytes(SALT_BYTES)
  return {
    encrypt(key, block) {
      const sealed = cipher.encrypt(key, block)
      // A copy: the wrap goes on in the block itself.
      drawn(new Uint8Array(sealed))
      return sealed
    },
    decrypt(key, block) {
      const opened = cipher.decrypt(key, block)
      const second = createHmac('sha256', salt).update(opened.subarray(HALF_BLOCK)).digest()
      const shown = new Uint8Array(opened)
      shown.set(second.subarray(0, HALF_BLOCK), HALF_BLOCK)
      drawn(shown)
      return opened
    },
  }
}

/** What a journal says of the step; some microseconds of work. */
export function journalStep({ now, input, draws, macs, outputs }: TakenStep): JournalStep {
  const wire: Buffer[] = input.kind === 'datagram' ? [Buffer.from(input.bytes)] : []
  collectSent(outputs, wire)
  const shown = macs.flatMap((mac, index) => {
    const length = onWire(mac, wire)
    return length === 0 ? [] : [[index, mac.slice(0, length)] as const]
  })
  const words = outputWords(outputs)
  return { now, input, draws, macs: shown, decided: decisionHash(outputs), words }
}

function collectSent(outputs: readonly Output[], into: Buffer[]): void {
  for (const output of outputs) {
    if (output.kind === 'send') into.push(Buffer.from(output.bytes))
    else if (output.kind === 'persist') collectSent(output.then, into)
  }
}

/** How many leading bytes of the result can be read on the wire; 0 when it is not there. */
function onWire(mac: Uint8Array, wire: readonly Buffer[]): number {
  const start = Buffer.from(mac.subarray(0, SHORTEST_MAC))
  for (const datagram of wire) {
    const at = datagram.indexOf(start)
    if (at < 0) continue
    let length = SHORTEST_MAC
    while (length < mac.length && datagram[at + length] === mac[length]) length += 1
    return length
  }
  return 0
}

/** Of AES. */
const HALF_BLOCK = 8
const SALT_BYTES = 32
/** HMAC-SHA-1-96 (RFC 9301 §5.6); chance does not find 12 bytes. */
const SHORTEST_MAC = 12
