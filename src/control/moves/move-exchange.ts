/**
 * Move messages between two xTRs as a reliable, authenticated exchange: sign, repeat, match, refuse.
 *
 * Shared Extension messages (RFC 9304) under the key of the mobility domain. A question is repeated,
 * same bytes, after 20, 40, 80, 160, 320 ms and then every 500 ms, until answered or given up; a long
 * one is several messages (move-parcels.ts). An answer copies the question's nonce. A question's nonce
 * rises per sender (sender-windows.ts); a repetition goes to the roles, which answer again without
 * doing anything twice. What the messages mean is decided in moves.ts and move-source.ts.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { formatIpAddress } from '../../lisp/address.js'
import { type AuthenticationKey, encodeSigned, verifyMessage } from '../../lisp/authentication.js'
import type { Rloc } from '../../lisp/locator.js'
import type { MoveMessage } from '../../lisp/message.js'
import type { Capabilities, Instant } from '../capabilities.js'
import { sendControl } from '../control-datagram.js'
import { createDeadlines } from '../deadlines.js'
import type { Output } from '../input-output.js'
import { report } from '../outputs.js'
import type { RisingCounter } from '../rising-counter.js'
import type { StoredRecord } from '../stored-record.js'
import { joinAnswers, parcelsOf } from './move-parcels.js'
import { createSenderWindows } from './sender-windows.js'

export type MoveContent = Pick<MoveMessage, 'phase' | 'moveId'> &
  Partial<
    Pick<
      MoveMessage,
      'reason' | 'records' | 'structuredRecords' | 'endpointMac' | 'stamp' | 'senders'
    >
  >

/**
 * Called once: with the answer, or with undefined when there was none in time; and with the answers of
 * the parcels that it was joined from.
 */
export type OnMoveAnswer = (
  answer: MoveMessage | undefined,
  now: Instant,
  outputs: Output[],
  parcels: readonly MoveMessage[],
) => void

export interface MoveExchange {
  /**
   * Sends and repeats until answered. Asking again under the same key replaces the former question.
   * Several contents are one question whose parts must not share a message.
   */
  ask(
    key: string,
    to: Rloc,
    content: MoveContent | readonly MoveContent[],
    giveUpAt: Instant,
    onAnswer: OnMoveAnswer,
    now: Instant,
    outputs: Output[],
  ): void
  /** The question is no longer of interest; its callback is not called. */
  abandon(key: string): void
  answer(question: MoveMessage, to: Rloc, content: MoveContent, outputs: Output[]): void
  /**
   * Authenticates a received message. Answers go to who asked; a question that may be acted on is
   * returned, and so is a *prepared* that nobody waits for, because somebody redirects in vain then.
   * Everything else becomes an event and undefined.
   */
  receive(
    message: MoveMessage,
    bytes: Uint8Array,
    from: Rloc,
    now: Instant,
    outputs: Output[],
  ): MoveMessage | undefined
  /** Whether a genuine message has come from this RLOC since the start. */
  hasHeard(rloc: Rloc): boolean
  restore(records: readonly StoredRecord[]): void
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
}

interface Question {
  readonly key: string
  readonly to: Rloc
  readonly giveUpAt: Instant
  readonly onAnswer: OnMoveAnswer
  /** What was asked at once, by nonce; without those answered. */
  readonly parcels: Map<bigint, Parcel>
  readonly answers: MoveMessage[]
}

/** One message of a question. */
interface Parcel {
  readonly question: Question
  readonly nonce: bigint
  readonly bytes: Uint8Array
  repetitions: number
}

const FIRST_REPETITION_MS = 20
const QUICK_REPETITIONS = 5
const SLOW_REPETITION_MS = 500
/** Our choice: of whom it is known that they were heard; who is not is found again when it speaks. */
const MAXIMUM_HEARD = 1024
const NO_MAC = new Uint8Array(6)

export function createMoveExchange(
  config: NodeConfig,
  capabilities: Capabilities,
  nonces: RisingCounter,
): MoveExchange {
  const questions = new Map<string, Question>()
  const byNonce = new Map<bigint, Parcel>()
  const deadlines = createDeadlines()
  const windows = createSenderWindows()
  /** RLOCs of genuine messages, the one heard of longest ago first. */
  const heard = new Set<string>()
  const ourId = hex(config.xtrId)

  function sign(content: MoveContent, nonce: bigint, key: AuthenticationKey): Uint8Array {
    const message: MoveMessage = {
      kind: 'move',
      nonce,
      keyId: key.keyId,
      algorithm: key.algorithm,
      authenticationData: new Uint8Array(0),
      reason: 'none',
      records: [],
      endpointMac: NO_MAC,
      senders: [],
      identity: { xtrId: config.xtrId, siteId: config.siteId },
      ...content,
    }
    return encodeSigned(message, key, capabilities.hmac)
  }

  function abandon(key: string): void {
    const question = questions.get(key)
    if (question === undefined) return
    questions.delete(key)
    for (const parcel of question.parcels.values()) forget(parcel)
  }

  function forget({ question, nonce }: Parcel): void {
    question.parcels.delete(nonce)
    byNonce.delete(nonce)
    deadlines.cancel(String(nonce))
  }

  function take(parcel: Parcel, answer: MoveMessage, now: Instant, outputs: Output[]): void {
    const { question } = parcel
    forget(parcel)
    question.answers.push(answer)
    const refused = answer.phase === 'refused'
    if (!refused && question.parcels.size > 0) return
    abandon(question.key)
    const [first = answer, ...others] = question.answers
    const joined = refused ? answer : joinAnswers([first, ...others])
    question.onAnswer(joined, now, outputs, question.answers)
  }

  function noteHeard(name: string): void {
    heard.delete(name)
    heard.add(name)
    if (heard.size > MAXIMUM_HEARD) for (const oldest of heard) if (heard.delete(oldest)) break
  }

  function objection(message: MoveMessage, bytes: Uint8Array, from: Rloc): string | undefined {
    const { key, peers } = config.mobility
    if (key === undefined) return 'no-mobility-key'
    const name = formatIpAddress(from)
    if (peers.length > 0 && !peers.some((one) => formatIpAddress(one) === name))
      return 'unknown-xtr'
    if (!verifyMessage(bytes, key, capabilities.hmac)) return 'authentication-failed'
    // Our own words sent back to us would authenticate.
    if (hex(message.identity.xtrId) === ourId) return 'reflected'
    return undefined
  }

  return {
    ask(key, to, content, giveUpAt, onAnswer, now, outputs) {
      const secret = config.mobility.key
      if (secret === undefined) return onAnswer(undefined, now, outputs, [])
      abandon(key)
      const question: Question = { key, to, giveUpAt, onAnswer, parcels: new Map(), answers: [] }
      questions.set(key, question)
      for (const one of [content].flat().flatMap(parcelsOf)) {
        const nonce = nonces.next(outputs)
        const bytes = sign(one, nonce, secret)
        const parcel: Parcel = { question, nonce, bytes, repetitions: 0 }
        question.parcels.set(nonce, parcel)
        byNonce.set(nonce, parcel)
        deadlines.set(String(nonce), Math.min(now + FIRST_REPETITION_MS, giveUpAt))
        sendControl(config, to, bytes, outputs)
      }
    },
    abandon,
    answer(question, to, content, outputs) {
      const secret = config.mobility.key
      if (secret !== undefined)
        sendControl(config, to, sign(content, question.nonce, secret), outputs)
    },
    receive(message, bytes, from, now, outputs) {
      const reject = (reason: string): undefined => {
        report(outputs, 'move-message-rejected', 'warning', { reason, from: formatIpAddress(from) })
      }
      const wrong = objection(message, bytes, from)
      if (wrong !== undefined) return reject(wrong)
      noteHeard(formatIpAddress(from))
      if (isQuestion(message)) {
        // A repetition is answered again: its first answer may have been lost.
        const { identity, nonce } = message
        const freshness = windows.judge(hex(identity.xtrId), nonce, outputs)
        if (freshness === 'no-room') return reject('too-many-xtrs')
        return freshness === 'replayed' ? reject('replayed') : message
      }
      const parcel = byNonce.get(message.nonce)
      if (parcel === undefined) {
        reject('unexpected-answer')
        return message.phase === 'prepared' ? message : undefined
      }
      take(parcel, message, now, outputs)
      return undefined
    },
    hasHeard: (rloc) => heard.has(formatIpAddress(rloc)),
    restore: windows.restore,
    handleDeadline(now, outputs) {
      for (const key of deadlines.due(now)) {
        const parcel = byNonce.get(BigInt(key))
        // Answered or given up together with another one of this moment.
        if (parcel === undefined) continue
        const { question } = parcel
        if (now >= question.giveUpAt) {
          abandon(question.key)
          question.onAnswer(undefined, now, outputs, [])
          continue
        }
        sendControl(config, question.to, parcel.bytes, outputs)
        parcel.repetitions += 1
        const quick = parcel.repetitions < QUICK_REPETITIONS
        const wait = quick ? FIRST_REPETITION_MS * 2 ** parcel.repetitions : SLOW_REPETITION_MS
        deadlines.set(key, Math.min(now + wait, question.giveUpAt))
      }
    },
    deadline: () => deadlines.next(),
  }
}

export function hex(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += byte.toString(16).padStart(2, '0')
  return text
}

const QUESTIONS: readonly MoveMessage['phase'][] = [
  'prepare',
  'prepare-live',
  'stopped',
  'confirm',
  'cancel',
  'solicited',
]

function isQuestion(message: MoveMessage): boolean {
  return QUESTIONS.includes(message.phase)
}
