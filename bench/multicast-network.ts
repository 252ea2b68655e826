/**
 * The network of the multicast benchmark, without any daemon: what is measured is the datapath alone.
 *
 *   host ─ root ─────────── relay        root: the site's replicator; relay: sixteen RTRs in one node
 *            └──── leaves ────┘          leaves: all RLOCs of receivers, counted and dropped on arrival
 *
 * The replicators are processes that load the programs and put entries as a node would.
 */
import type { ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { loadNativeAddon } from '../src/datapath/native-addon.js'
import { PROBE, writeConfigurations } from '../src/lab/daemons.js'
import { bringUp } from '../src/lab/lab.js'
import { compiledFile, labPaths, namespaceFile } from '../src/lab/names.js'
import { runProgram } from '../src/lab/network.js'
import { signalProcess, startProcess } from '../src/lab/processes.js'
import { type LoadedTopology, parseTopology } from '../src/lab/topology.js'
import { readSink } from './network.js'
import type { ReplicatorAnswer, ReplicatorRequest } from './replicator.js'

export const BENCH_MULTICAST = 'bench-multicast'
export const MULTICAST_INSTANCE = 7
/** Own RLOCs of a node, at most: so many relays are one. */
export const RELAYS = 16
export const GROUP = '232.1.1.1'
export const SOURCE = '10.61.0.2'
export const ROOT_RLOC = '172.29.1.1'

/** The n-th relay, and the n-th receiver: RLOCs, from 0. */
export const relayRloc = (n: number): string => `172.29.1.${101 + n}`
export const leafRloc = (n: number): string => `198.18.${n >> 8}.${n & 255}`

export interface Replicator {
  ask(request: ReplicatorRequest): Promise<ReplicatorAnswer>
}

export interface MulticastNetwork {
  readonly root: Replicator
  readonly relay: Replicator
  /** Packets to the group, so many a second, so long; the traffic tool's report. */
  send(packetsPerSecond: number, seconds: number): Promise<Record<string, number>>
  /** Copies that have reached receivers so far. */
  delivered(): number
  close(): Promise<void>
}

export async function openMulticastNetwork(): Promise<MulticastNetwork> {
  const topology = multicastTopology()
  await bringUp(topology, { daemons: false })
  writeConfigurations(topology, (_node, config) => config)
  const pins = join(labPaths(BENCH_MULTICAST).pins, 'sink')
  const sink = [compiledFile('../../bench/sink.js'), pins, String(DATA_PORT), 'root0', 'relay0']
  const leaves = `--net=${namespaceFile(BENCH_MULTICAST, 'leaves')}`
  await runProgram('nsenter', [leaves, process.execPath, ...sink])
  const addon = loadNativeAddon()
  const rodata = { sink_port: DATA_PORT }
  const object = addon.openObject('sink', { pinDirectory: pins, rodata })
  const [root, relay] = [startReplicator('root'), startReplicator('relay')]
  return {
    root,
    relay,
    send,
    delivered: () => readSink(addon, object).packets,
    async close() {
      await Promise.all([root.stop(), relay.stop()])
      addon.closeObject(object)
    },
  }
}

function send(packetsPerSecond: number, seconds: number): Promise<Record<string, number>> {
  const size = ['--size', '64', '--flows', '1', '--port', '9']
  const pace = ['--rate', String(packetsPerSecond), '--seconds', String(seconds)]
  const command = ['taskset', '-c', '0', PROBE(), 'blast', '--to', GROUP, ...size, ...pace]
  const start = { topology: BENCH_MULTICAST, node: 'host', name: 'load', output: 'pipe' } as const
  const child = startProcess({ ...start, command })
  return new Promise((resolve, reject) => {
    let [output, errors] = ['', '']
    child.stdout!.on('data', (data) => {
      output += data
    })
    child.stderr!.on('data', (data) => {
      errors += data
    })
    const limit = setTimeout(
      () => signalProcess(child.pid!, 'SIGKILL'),
      (seconds + LIMIT_SECONDS) * 1_000,
    )
    child.on('close', (code) => {
      clearTimeout(limit)
      if (code !== 0) reject(new Error(`blast: exit ${code}: ${errors.trim()}`))
      else resolve(JSON.parse(output.trim().split('\n').at(-1)!) as Record<string, number>)
    })
  })
}

function startReplicator(node: 'root' | 'relay'): Replicator & { stop(): Promise<void> } {
  const config = join(labPaths(BENCH_MULTICAST).config, `${node}.yaml`)
  const command = [process.execPath, compiledFile('../../bench/replicator.js'), config]
  const start = { topology: BENCH_MULTICAST, node, name: `replicator-${node}` } as const
  const child: ChildProcess = startProcess({ ...start, command, output: 'pipe' })
  const waiting: ((answer: ReplicatorAnswer) => void)[] = []
  let errors = ''
  child.stderr!.on('data', (data) => {
    errors += data
  })
  child.stdin!.on('error', () => {})
  createInterface({ input: child.stdout! }).on('line', (line) =>
    waiting.shift()?.(JSON.parse(line) as ReplicatorAnswer),
  )
  const ended = new Promise<void>((resolve) => child.on('close', () => resolve()))
  ended.then(() => {
    for (const one of waiting.splice(0)) one({ error: `it has ended: ${errors.trim()}` })
  })
  return {
    async ask(request) {
      const answer = await new Promise<ReplicatorAnswer>((resolve) => {
        waiting.push(resolve)
        child.stdin!.write(`${JSON.stringify(request)}\n`)
      })
      if (answer.error !== undefined) throw new Error(`${node}: ${answer.error}`)
      return answer
    },
    stop() {
      child.stdin!.end()
      return ended
    },
  }
}

/** The network as the lab builds it; exported for tests. */
export function multicastTopology(): LoadedTopology {
  const relays = Array.from({ length: RELAYS }, (_, n) => relayRloc(n))
  const document = {
    name: BENCH_MULTICAST,
    topology: {
      nodes: {
        host: {
          kind: 'host',
          addresses: { eth0: [`${SOURCE}/24`] },
          routes: [{ to: 'default', via: '10.61.0.1' }],
        },
        root: {
          kind: 'xtr',
          addresses: {
            core0: [`${ROOT_RLOC}/24`],
            leaf0: ['172.29.2.1/24'],
            site0: ['10.61.0.1/24'],
          },
          routes: [{ to: LEAVES, via: '172.29.2.254' }],
          config: replicatorConfig([ROOT_RLOC], [SITE_PREFIX], {}),
        },
        relay: {
          kind: 'xtr',
          addresses: {
            core0: relays.map((address) => `${address}/24`),
            leaf0: ['172.29.3.1/24'],
            site0: ['10.62.0.1/24'],
          },
          routes: [{ to: LEAVES, via: '172.29.3.254' }],
          config: replicatorConfig(relays, ['10.62.0.0/24'], {
            relayLevel: 1,
            relayInstances: [MULTICAST_INSTANCE],
          }),
        },
        nobody: { kind: 'host', addresses: { eth0: ['10.62.0.2/24'] }, routes: [] },
        leaves: {
          kind: 'router',
          addresses: { root0: ['172.29.2.254/24'], relay0: ['172.29.3.254/24'] },
        },
      },
      links: [
        { endpoints: ['host:eth0', 'root:site0'] },
        { endpoints: ['nobody:eth0', 'relay:site0'] },
        { endpoints: ['root:core0', 'relay:core0'] },
        { endpoints: ['root:leaf0', 'leaves:root0'] },
        { endpoints: ['relay:leaf0', 'leaves:relay0'] },
      ],
    },
  }
  const result = parseTopology(JSON.stringify(document))
  if (!result.ok) throw new Error(`the topology is wrong: ${JSON.stringify(result.errors)}`)
  return result
}

function replicatorConfig(
  rlocs: readonly string[],
  prefixes: readonly string[],
  multicast: object,
): object {
  return {
    roles: ['itr', 'etr'],
    rlocs: rlocs.map((address) => ({ address, interface: 'core0' })),
    siteInterfaces: [{ name: 'site0', instanceId: MULTICAST_INSTANCE }],
    eidPrefixes: prefixes.map((prefix) => ({
      prefix,
      instanceId: MULTICAST_INSTANCE,
      interface: 'site0',
    })),
    mapServers: [{ address: '172.29.1.250', key: { secretFile: 'nobody.key' } }],
    mapResolvers: ['172.29.1.250'],
    multicast: { enabled: true, ...multicast },
  }
}

const SITE_PREFIX = '10.61.0.0/24'
const LEAVES = '198.18.0.0/16'
const DATA_PORT = 4341
const LIMIT_SECONDS = 15
