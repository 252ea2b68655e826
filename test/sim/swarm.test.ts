/**
 * The swarm: fixed seeds, each with faults and moves of its own; seeds that once failed; the same seed
 * twice; and nodes broken on purpose, which the swarm must notice.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Input, Node, Output } from '../../src/control/input-output.js'
import { formatEidPrefix } from '../../src/lisp/eid.js'
import { decodeMessage, encodeMessage } from '../../src/lisp/message.js'
import { drawFaultMix, type FaultMix, noFaults } from '../../src/sim/faults.js'
import type { Invariant } from '../../src/sim/invariants.js'
import { createPrng } from '../../src/sim/prng.js'
import { type RunResult, runSimulation } from '../../src/sim/run.js'
import type { SimulatedTopology } from '../../src/sim/topology.js'
import { USUAL_DELAYS } from '../../src/sim/world.js'
import { simulatedFile, simulatedSize } from '../support/simulated.js'

const twoClouds = simulatedFile('two-clouds.yaml')
const threeClouds = simulatedSize({ customers: 2, endpoints: 2, proxyReply: false })
const fourClouds = simulatedSize({ clouds: 4, endpoints: 2, dualStack: true })
const TOPOLOGIES: Readonly<Record<string, SimulatedTopology>> = {
  'two-clouds': twoClouds,
  'three-clouds': threeClouds,
  'four-clouds': fourClouds,
}
const SEEDS_EACH = 100
const SAFETY_MS = 5000

function verdict({ seed, ok, violation, faults }: RunResult): string {
  return ok ? 'ok' : `seed ${seed}: ${violation?.invariant} ${violation?.message} (${faults})`
}

t.test('200 seeds: every invariant holds, with faults and after them', async (t) => {
  let [quiet, sent, moves] = [0, 0, 0]
  for (const topology of [twoClouds, threeClouds])
    for (let seed = 1; seed <= SEEDS_EACH; seed += 1) {
      const options = { seed: String(seed), mode: 'swarm' as const, safetyMs: SAFETY_MS }
      const result = runSimulation(topology, options)
      if (result.faults.startsWith('no faults')) quiet += 1
      sent += result.totals.sent
      moves += result.moves.length
      if (!result.ok) t.fail(`${topology.name}: ${verdict(result)}`)
    }
  t.comment(`${sent} packets, ${moves} moves, ${quiet} runs without faults`)
  // Or the swarm would have passed by doing nothing.
  t.ok(sent > 100_000 && moves > 400 && quiet > 20 && quiet < 100)
})

t.test('the mixes of the seeds contain every kind of fault, and none too often', async (t) => {
  const kinds = new Map<string, number>()
  for (let seed = 1; seed <= SEEDS_EACH; seed += 1) {
    const mix = drawFaultMix(createPrng(String(seed)).split('mix'))
    const { control, data } = mix.errors
    const strengths = { ...mix, ...control, dataLoss: data.loss, dataCopies: data.duplication }
    for (const [name, strength] of Object.entries(strengths))
      if (typeof strength === 'number' && strength > 0) kinds.set(name, (kinds.get(name) ?? 0) + 1)
  }
  kinds.delete('pauseMs')
  for (const [name, count] of kinds) t.ok(count >= 3 && count <= 50, `${name} in ${count} of 100`)
  t.equal(kinds.size, 13)
})

t.test('seeds that failed once', async (t) => {
  const text = readFileSync(
    join(import.meta.dirname, '..', '..', '..', 'test', 'sim', 'regressions.json'),
    'utf8',
  )
  const regressions = JSON.parse(text) as { topology: string; seed: string; cause: string }[]
  t.ok(regressions.length > 0)
  for (const { topology, seed, cause } of regressions) {
    const result = runSimulation(TOPOLOGIES[topology]!, { seed, mode: 'swarm' })
    t.equal(verdict(result), 'ok', cause)
  }
})

t.test('one seed, one run: the same hash twice, another hash for another seed', async (t) => {
  const run = (seed: string): RunResult =>
    runSimulation(twoClouds, { seed, mode: 'swarm', safetyMs: SAFETY_MS })
  const [first, again, other] = [run('7'), run('7'), run('8')]
  t.equal(again.hash, first.hash)
  t.same(again, first)
  t.not(other.hash, first.hash)
  t.match(first.hash, /^[0-9a-f]{16}$/)
})

t.test('the story of two-clouds loses nothing in prepared moves', async (t) => {
  const result = runSimulation(twoClouds, { seed: '1', mode: 'story' })
  t.equal(verdict(result), 'ok')
  t.equal(result.moves.length, 12)
  for (const { kind, to, answer, lost, duplicated } of result.moves) {
    const name = `${kind} to ${to}`
    t.equal(duplicated, 0, name)
    if (kind === 'detected') t.ok(lost < 40, `${name}: ${lost}`)
    else t.same([answer, lost], ['ready', 0], name)
  }
  // What was on its way when a host just left, and what its old neighbours sent to its old place.
  t.same(Object.keys(result.totals.reasons).sort(), ['endpoint-not-here', 'stale-neighbour'])
})

// ------------------------------------------------------------------------ broken on purpose

/** A node whose outputs, or inputs, pass through here. */
function through(
  node: Node,
  change: {
    readonly input?: (input: Input) => Input
    readonly outputs?: (outputs: readonly Output[]) => Output[]
  },
): Node {
  return {
    ...node,
    handle(input, now, outputs) {
      const own: Output[] = []
      node.handle(change.input?.(input) ?? input, now, own)
      outputs.push(...(change.outputs?.(own) ?? own))
    },
  }
}

/** An xTR that never writes "away" into its datapath. */
function withoutAway(node: Node): Node {
  const isAway = (one: Output): boolean =>
    one.kind === 'datapath' &&
    one.operation.kind === 'put-local-eid' &&
    one.operation.state === 'away'
  return through(node, { outputs: (outputs) => outputs.filter((one) => !isAway(one)) })
}

/** An ITR that takes any Map-Reply for the answer to what it asked last. */
function withoutNonceCheck(node: Node): Node {
  let asked: bigint | undefined
  const listen = (bytes: Uint8Array): void => {
    const outer = decodeMessage(bytes)
    const message = outer.kind === 'encapsulated-control' ? decodeMessage(outer.message) : outer
    if (message.kind === 'map-request' && !message.rlocProbe && !message.solicitMapRequest)
      asked = message.nonce
  }
  return through(node, {
    input(input) {
      if (input.kind !== 'datagram' || asked === undefined) return input
      const message = decodeMessage(input.bytes)
      if (message.kind !== 'map-reply' || message.rlocProbe) return input
      return { ...input, bytes: encodeMessage({ ...message, nonce: asked }) }
    },
    outputs(outputs) {
      for (const one of outputs) if (one.kind === 'send') listen(one.bytes)
      return [...outputs]
    },
  })
}

/** An ITR that never replaces what it once sent packets by. */
function withoutReplacement(node: Node): Node {
  const forwarded = new Set<string>()
  return through(node, {
    outputs: (outputs) =>
      outputs.filter((one) => {
        if (one.kind !== 'datapath' || one.operation.kind !== 'put-map-cache') return true
        if (one.operation.action !== 'forward') return true
        const key = formatEidPrefix(one.operation.eidPrefix)
        if (forwarded.has(key)) return false
        forwarded.add(key)
        return true
      }),
  })
}

const CALM: FaultMix = { ...noFaults(USUAL_DELAYS), moves: ['orchestrated'], pauseMs: 500 }

/** The first violation among a few seeds, and whether the same seeds pass unbroken. */
function notices(
  wrap: (node: Node, name: string) => Node,
  mix: FaultMix,
  without: readonly Invariant[],
): { broken: Invariant | undefined; sound: boolean } {
  for (let seed = 1; seed <= 8; seed += 1) {
    const options = { seed: String(seed), mode: 'swarm' as const, safetyMs: SAFETY_MS, mix }
    const broken = runSimulation(threeClouds, { ...options, wrap, without })
    if (broken.ok) continue
    const sound = runSimulation(threeClouds, { ...options, without })
    return { broken: broken.violation?.invariant, sound: sound.ok }
  }
  return { broken: undefined, sound: true }
}

t.test('the swarm notices an xTR that does not redirect who has left', async (t) => {
  t.same(notices(withoutAway, CALM, []), { broken: 'I1', sound: true })
  const late = notices(withoutAway, CALM, ['I1'])
  t.same(late, { broken: 'I7', sound: true }, 'the comparison of the tables notices too')
})

t.test('the swarm notices an ITR that does not check nonces', async (t) => {
  const mix = { ...CALM, forgeryEveryMs: 10 }
  t.same(notices(withoutNonceCheck, mix, []), { broken: 'I2', sound: true })
  const late = notices(withoutNonceCheck, mix, ['I2'])
  t.same(late, { broken: 'I9', sound: true }, 'so does who watches what forgeries bring about')
})

t.test('the swarm notices an ITR that does not replace its cache entries', async (t) => {
  t.same(notices(withoutReplacement, CALM, []), { broken: 'I7', sound: true })
  const late = notices(withoutReplacement, CALM, ['I7'])
  t.same(late, { broken: 'I1', sound: true }, 'and so does who counts the packets')
})
