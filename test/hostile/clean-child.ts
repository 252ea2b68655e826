/**
 * A clean client beside an attack, a process of its own: registers its site, asks for what it has
 * registered (or probes an xTR), judges every answer, and measures how long each took.
 *
 * One JSON line on stdin begins (see `CleanPlan`); "ready" is said after the registrations. After each
 * further line the figures since the last one are printed (see `CleanFigures`), a second later, when
 * all answers must have come; the end of stdin ends it.
 */
import { createHmac } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { createInterface } from 'node:readline'
import { formatIpAddress } from '../../src/lisp/address.js'
import { encodeSigned, type Hmac, verifyMessage } from '../../src/lisp/authentication.js'
import { formatEidPrefix } from '../../src/lisp/eid.js'
import { decodeMessage } from '../../src/lisp/message.js'
import { aLocator, aMapping, aMapRegister, anIdentity } from '../support/builders.js'
import { goodQuestion } from './hostile-packets.js'

export interface CleanPlan {
  readonly kind: 'map-server' | 'xtr'
  readonly from: string
  readonly to: string
  /** Asked for in turn; the Map-Server's are registered first. */
  readonly prefixes: readonly string[]
  /** RLOC that each answer must name. */
  readonly rloc: string
  readonly key: { readonly keyId: number; readonly secret: string }
  readonly perSecond: number
}

export interface CleanFigures {
  readonly asked: number
  readonly answered: number
  readonly wrong: readonly string[]
  readonly registers: number
  readonly acknowledged: number
  /** Milliseconds from a question to its answer. */
  readonly p50: number
  readonly p99: number
  readonly longest: number
}

const hmac: Hmac = (hash, key, data) => new Uint8Array(createHmac(hash, key).update(data).digest())
const RECORDS_PER_REGISTER = 20
const LAST_ANSWER_MS = 700

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const plan = JSON.parse((await lines.next()).value as string) as CleanPlan
const key = {
  keyId: plan.key.keyId,
  algorithm: 3,
  secret: new Uint8Array(Buffer.from(plan.key.secret, 'hex')),
} as const
const waiting = new Map<bigint, { readonly at: number; readonly prefix: string }>()
const registering = new Set<bigint>()
const took: number[] = []
const wrong: string[] = []
let [asked, turn, registers, acknowledged] = [0, 0, 0, 0]
let paused = false
/** Above all that an attacker guesses by counting. */
let nonce = 0x7a11_0000_0000_0000n + BigInt(Math.floor(Math.random() * 2 ** 40))

const socket = createSocket('udp4')
socket.on('message', (bytes) => judge(new Uint8Array(bytes)))
socket.on('error', () => {})
await new Promise<void>((resolve) => socket.bind(4342, plan.from, resolve))
await begin()
process.stdout.write('ready\n')
const asking = setInterval(ask, 1000 / plan.perSecond)
const refreshing = setInterval(() => paused || register(turn), 1000)
while ((await lines.next()).done !== true) {
  paused = true
  await new Promise((resolve) => setTimeout(resolve, LAST_ANSWER_MS))
  process.stdout.write(`${JSON.stringify(figuresNow())}\n`)
  ;[took.length, wrong.length, asked, registers, acknowledged] = [0, 0, 0, 0, 0]
  paused = false
}
clearInterval(asking)
clearInterval(refreshing)
socket.close()

function figuresNow(): CleanFigures {
  took.sort((a, b) => a - b)
  const quantile = (share: number): number => took[Math.floor(took.length * share)] ?? Number.NaN
  return {
    ...{ asked, answered: took.length, wrong: wrong.slice(0, 10), registers, acknowledged },
    ...{ p50: quantile(0.5), p99: quantile(0.99), longest: took.at(-1) ?? Number.NaN },
  }
}

async function begin(): Promise<void> {
  const batches = Math.ceil(plan.prefixes.length / RECORDS_PER_REGISTER)
  if (plan.kind === 'xtr') return
  for (let batch = 0; batch < batches; batch += 1) register(batch)
  const until = performance.now() + 5000
  while (acknowledged < batches) {
    if (performance.now() > until) throw new Error(`${acknowledged} of ${batches} registered`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** The same records each time: a refresh. */
function register(batch: number): void {
  if (plan.kind === 'xtr') return
  const first = (batch * RECORDS_PER_REGISTER) % plan.prefixes.length
  const own = aLocator(plan.rloc, { local: true })
  const records = plan.prefixes
    .slice(first, first + RECORDS_PER_REGISTER)
    .map((eidPrefix) => aMapping({ eidPrefix, locators: [own] }))
  nonce += 1n
  registering.add(nonce)
  registers += 1
  const message = aMapRegister({ nonce, records, identity: anIdentity(0xcc) })
  socket.send(encodeSigned(message, key, hmac), 4342, plan.to)
}

function ask(): void {
  if (paused) return
  const prefix = plan.prefixes[turn % plan.prefixes.length]!
  nonce += 1n
  turn += 1
  asked += 1
  waiting.set(nonce, { at: performance.now(), prefix })
  socket.send(goodQuestion(plan.kind, plan.from, prefix, nonce), 4342, plan.to)
}

function judge(bytes: Uint8Array): void {
  const message = decodeMessage(bytes)
  if (message.kind === 'map-notify' && registering.delete(message.nonce)) {
    if (verifyMessage(bytes, key, hmac)) acknowledged += 1
    else wrong.push('a Map-Notify with wrong authentication')
    return
  }
  if (message.kind !== 'map-reply') return
  const question = waiting.get(message.nonce)
  if (question === undefined) return
  waiting.delete(message.nonce)
  took.push(performance.now() - question.at)
  const [record] = message.records
  const rlocs = record?.locators.map(({ rloc }) => formatIpAddress(rloc)) ?? []
  const isRight = record !== undefined && formatEidPrefix(record.eidPrefix) === question.prefix
  if (!isRight || !rlocs.includes(plan.rloc))
    wrong.push(`${question.prefix}: ${record && formatEidPrefix(record.eidPrefix)} ${rlocs}`)
}
