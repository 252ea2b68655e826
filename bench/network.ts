/**
 * The benchmark's network while it is up: programs run in its nodes, servers, the counting sink, and
 * the processes that hold the datapath's handles in the two xTRs.
 *
 * Senders run on the first CPU, receivers on the second, so that the scheduler's choices do not enter
 * the figures. Everything is found and removed by the topology's name, also after a crash.
 */
import type { ChildProcess } from 'node:child_process'
import { cpus } from 'node:os'
import { join } from 'node:path'
import {
  loadNativeAddon,
  type NativeAddon,
  type NativeHandle,
} from '../src/datapath/native-addon.js'
import { PROBE } from '../src/lab/daemons.js'
import { bringUp } from '../src/lab/lab.js'
import { compiledFile, labPaths, namespaceFile } from '../src/lab/names.js'
import { runProgram } from '../src/lab/network.js'
import { signalProcess, startProcess } from '../src/lab/processes.js'
import { BENCH, benchmarkTopology, type Family } from './topology.js'
import type { AgentAnswer, AgentRequest } from './xtr-agent.js'

export type NodeName = 'ha' | 'xa' | 'core' | 'xb' | 'hb' | 'mapping'

export interface Agent {
  ask(request: AgentRequest): Promise<AgentAnswer>
}

export interface BenchNetwork {
  readonly rlocFamily: Family
  readonly agents: Readonly<Record<'xa' | 'xb', Agent>>
  /** Runs the traffic tool in host A to its end; its JSON line. */
  probe(words: readonly string[], limitSeconds: number): Promise<Record<string, number>>
  /** What the sink at host B has counted since it was attached. */
  sunk(): { readonly packets: number; readonly bytes: number }
  close(): void
}

export const SINK_PORT = 9
export const BULK_PORT = 5201
export const PINGPONG_PORT = 5202

/** Brings the network, its daemons and its servers up; a former one of the same name goes first. */
export async function openNetwork(options: {
  readonly rlocFamily: Family
  readonly maximumMappings?: number
  readonly say: (line: string) => void
}): Promise<BenchNetwork> {
  const loaded = benchmarkTopology(options)
  await bringUp(loaded, { say: options.say })
  const pins = join(labPaths(BENCH).pins, 'sink')
  const sink = ['node', compiledFile('../../bench/sink.js'), pins, String(SINK_PORT), 'eth0']
  await inNode('hb', [process.execPath, ...sink.slice(1)])
  const [xa, xb] = [startAgent('xa'), startAgent('xb')]
  await startServer('bulk', ['bulk', 'serve', '--port', String(BULK_PORT)])
  await startServer('pingpong', ['pingpong', 'serve', '--port', String(PINGPONG_PORT)])
  const addon = loadNativeAddon()
  const object = addon.openObject('sink', { pinDirectory: pins, rodata: { sink_port: SINK_PORT } })
  return {
    rlocFamily: options.rlocFamily,
    agents: { xa, xb },
    probe: (words, limitSeconds) => runProbe(words, limitSeconds),
    sunk: () => readSink(addon, object),
    close: () => addon.closeObject(object),
  }
}

/** Runs a short command inside a node; its stdout. Rejects with its stderr. */
export function inNode(node: NodeName, words: readonly string[]): Promise<string> {
  return runProgram('nsenter', [`--net=${namespaceFile(BENCH, node)}`, ...words])
}

/** `ip` commands, one per line, inside a node. */
export function ipInNode(node: NodeName, lines: readonly string[]): Promise<string> {
  const netns = `--net=${namespaceFile(BENCH, node)}`
  return runProgram('nsenter', [netns, 'ip', '-batch', '-'], `${lines.join('\n')}\n`)
}

/** Starts a receiver of the traffic tool in host B; resolves when it listens. */
export async function startServer(
  name: string,
  words: readonly string[],
): Promise<{ readonly stop: () => Promise<void> }> {
  const command = [...pinned(RECEIVER_CPU), PROBE(), ...words]
  const child = startProcess({ topology: BENCH, node: 'hb', name, command, output: 'pipe' })
  const ended = new Promise<void>((resolve) => child.on('close', () => resolve()))
  await new Promise<void>((resolve, reject) => {
    let said = ''
    child.stderr!.on('data', (data) => {
      said += data
      if (said.includes('listening')) resolve()
    })
    child.on('close', (code) => reject(new Error(`${name}: exit ${code}: ${said.trim()}`)))
  })
  const stop = (): Promise<void> => {
    signalProcess(child.pid!, 'SIGTERM')
    return ended
  }
  return { stop }
}

async function runProbe(
  words: readonly string[],
  limitSeconds: number,
): Promise<Record<string, number>> {
  const command = [...pinned(SENDER_CPU), PROBE(), ...words]
  const child = startProcess({ topology: BENCH, node: 'ha', name: 'load', command, output: 'pipe' })
  const { output, errors, code } = await outputOf(child, limitSeconds)
  if (code !== 0) throw new Error(`${words.join(' ')}: exit ${code}: ${errors.trim()}`)
  return JSON.parse(output.trim().split('\n').at(-1)!) as Record<string, number>
}

function outputOf(
  child: ChildProcess,
  limitSeconds: number,
): Promise<{ output: string; errors: string; code: number | null }> {
  return new Promise((resolve) => {
    let [output, errors] = ['', '']
    child.stdout!.on('data', (data) => {
      output += data
    })
    child.stderr!.on('data', (data) => {
      errors += data
    })
    const limit = setTimeout(() => signalProcess(child.pid!, 'SIGKILL'), limitSeconds * 1_000)
    child.on('close', (code) => {
      clearTimeout(limit)
      resolve({ output, errors, code })
    })
  })
}

/** A process inside the xTR's namespace that answers one JSON line per JSON line. */
function startAgent(node: 'xa' | 'xb'): Agent {
  const config = join(labPaths(BENCH).config, `${node}.yaml`)
  const command = [process.execPath, compiledFile('../../bench/xtr-agent.js'), config]
  const child = startProcess({
    topology: BENCH,
    node,
    name: `agent-${node}`,
    command,
    output: 'pipe',
  })
  const waiting: { resolve: (answer: AgentAnswer) => void; reject: (error: Error) => void }[] = []
  let [received, errors] = ['', '']
  child.stderr!.on('data', (data) => {
    errors += data
  })
  child.stdout!.on('data', (data) => {
    received += data
    for (let end = received.indexOf('\n'); end >= 0; end = received.indexOf('\n')) {
      const answer = JSON.parse(received.slice(0, end)) as AgentAnswer
      received = received.slice(end + 1)
      const next = waiting.shift()
      if (answer.error === undefined) next?.resolve(answer)
      else next?.reject(new Error(`${node}: ${answer.error}`))
    }
  })
  child.on('close', () => {
    const reason = new Error(`the agent of ${node} has ended: ${errors.trim()}`)
    for (const { reject } of waiting.splice(0)) reject(reason)
  })
  child.stdin!.on('error', () => {})
  return {
    ask: (request) =>
      new Promise((resolve, reject) => {
        if (child.exitCode !== null) {
          reject(new Error(`the agent of ${node} has ended: ${errors.trim()}`))
          return
        }
        waiting.push({ resolve, reject })
        child.stdin!.write(`${JSON.stringify(request)}\n`)
      }),
  }
}

/** What the sink has counted, on all CPUs. */
export function readSink(
  addon: NativeAddon,
  object: NativeHandle,
): { packets: number; bytes: number } {
  const values = addon.lookupMap(object, 'sink_counter', new Uint8Array(4)) ?? new Uint8Array()
  const view = new DataView(values.buffer, values.byteOffset, values.byteLength)
  let [packets, bytes] = [0, 0]
  for (let at = 0; at + SINK_COUNTER_BYTES <= view.byteLength; at += SINK_COUNTER_BYTES) {
    packets += Number(view.getBigUint64(at, true))
    bytes += Number(view.getBigUint64(at + 8, true))
  }
  return { packets, bytes }
}

function pinned(cpu: number): string[] {
  return cpus().length > cpu ? ['taskset', '-c', String(cpu)] : []
}

const SENDER_CPU = 0
const RECEIVER_CPU = 1
/** struct sink_counter of native/bpf/sink.bpf.c. */
const SINK_COUNTER_BYTES = 16
