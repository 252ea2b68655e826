/**
 * Builds the shell of one node from its configuration and takes it down again.
 *
 * Order of start: log, interfaces, store, datapath (maps of an earlier run found pinned), control
 * sockets, node with what was restored, programs attached, API, ready. Stop is the reverse. Reload
 * puts a new node on the same store, sockets and maps: packets are forwarded on meanwhile.
 */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { type Api, startApi } from '../api/server.js'
import type { SocketCounters } from '../api/socket-metrics.js'
import type { ConfigError } from '../config/config-error.js'
import { loadConfig } from '../config/load.js'
import type { NodeConfig } from '../config/node-config.js'
import type { Config } from '../config/schema.js'
import type { Capabilities } from '../control/capabilities.js'
import type { Input, Node } from '../control/input-output.js'
import { createNode } from '../control/node.js'
import type { RestoredState } from '../control/restored-state.js'
import { loadNativeAddon, type NativeAddon } from '../datapath/native-addon.js'
import type { NetworkInterface } from '../datapath/network-interface.js'
import { openEmbeddedStore } from '../store/embedded-store.js'
import { createBlockCipher } from './block-cipher.js'
import { type Clock, createClock, createRandom, fromStored } from './clock-and-random.js'
import { forwardingIsOff } from './forwarding.js'
import { createInterfaceFollowing } from './interface-following.js'
import { createLog, type Log } from './log.js'
import { createRecorder, type Recorder } from './recorder.js'
import { createSignatures } from './referral-signatures.js'
import { rehearse } from './rehearsal.js'
import { type RunningNode, runNode } from './run-node.js'
import { createUdpWire, type UdpWire } from './udp-wire.js'

export interface Daemon {
  /** Read the configuration again; an invalid one changes nothing and is logged whole. */
  reload(): Promise<void>
  /** Graceful end; `onStop` is `datapath.onStop` of the configuration unless it is given. */
  stop(onStop?: OnStop): Promise<void>
  readonly log: Log
}

/** Whether programs and tables leave the kernel with the daemon, and registrations the Map-Servers. */
type OnStop = Config['datapath']['onStop']

interface Loaded {
  readonly config: Config
  readonly nodeConfig: NodeConfig
  readonly warnings: readonly ConfigError[]
}

/** Rejects, leaving forwarding as it was, when the environment lacks something; says what. */
export async function startDaemon(options: {
  readonly configPath: string
  readonly loaded: Loaded
  readonly version: string
}): Promise<Daemon> {
  const { config } = options.loaded
  let { nodeConfig } = options.loaded
  // The API shows what is in force; everything else of the shell keeps what it was built with.
  let shown = config
  const clock = createClock()
  const log = createLog({ node: config.node, level: config.log.level, now: clock.now })
  for (const { path, problem } of options.loaded.warnings) {
    log.say('warning', 'configuration-warning', { path, problem })
  }
  const problem = config.datapath.kind === 'none' ? undefined : forwardingIsOff(config)
  if (problem !== undefined) log.say('warning', 'forwarding-is-off', { problem })
  const addon = loadNativeAddon()
  const signatures = createSignatures((now) => now + clock.wallClock() - clock.now())
  const blockCipher = createBlockCipher()
  const random = createRandom()
  const capabilities: Capabilities = { random, hmac: addon.hmac, signatures, blockCipher }
  const forwards = config.datapath.kind === 'bpf'
  const outfit = forwards ? await loadOutfit() : undefined
  const readInterfaces = outfit?.readInterfaces ?? (() => Promise.resolve([]))
  let interfaces: readonly NetworkInterface[] = await readInterfaces()
  const store = await openEmbeddedStore(storeDirectory(config), (key) => {
    log.say('error', 'stored-record-unreadable', { key })
  })
  const records = await store.load()
  const recorder = openRecorder(config, options.version, clock, log, () => renew())
  const makeNode = (next: NodeConfig): Node =>
    recorder?.createNode(next, capabilities) ?? createNode(next, capabilities)

  // From here to the `restored` input nothing is awaited: no event can come before its node is
  // there.
  const parts = { config, nodeConfig, addon, log, clock, interfaces: () => interfaces }
  const hands = outfit?.createHands(parts)
  let wire = openWire(nodeConfig, addon, (inputs) => running.enqueue(inputs))
  const running: RunningNode = runNode({
    node: makeNode(nodeConfig),
    clock,
    wire: {
      send: (from, to, toPort, bytes) => wire.send(from, to, toPort, bytes),
      flush: () => wire.flush(),
    },
    datapath: hands,
    store,
    onStoreFailure: (error) => log.say('error', 'store-write-failed', { why: String(error) }),
  })
  const unsubscribe = running.onEvent((event, at) => log.event(event, at))
  const restoredFrom = (stored: RestoredState['records']): Input => {
    const tables = hands?.datapath.restore() ?? { localEids: [], mapCache: [] }
    const own = stored.filter(({ kind }) => kind !== 'workload')
    const state = { records: own.map((record) => fromStored(record, clock)), ...tables }
    return { kind: 'restored', state }
  }
  hands?.connect(running, () => nodeConfig)
  running.enqueue([restoredFrom(records)])
  hands?.datapath.start()
  hands?.followSegments(nodeConfig)
  const following = createInterfaceFollowing({
    nodeConfig: () => nodeConfig,
    interfaces: () => interfaces,
    raise: running.raise,
    alter(reading) {
      hands?.datapath.reconfigure(nodeConfig, reading)
      interfaces = reading
      hands?.followSegments(nodeConfig)
    },
    renew: () => takeUp({ config: shown, nodeConfig }),
  })
  const followInterfaces = async (): Promise<void> => {
    // Without packets of its own a node has read none.
    if (forwards) await following.take(interfaces)
  }
  await followInterfaces()
  const api = await startApi({
    node: running,
    datapath: hands?.datapath,
    groupPackets: hands?.groupPackets,
    addressHints: hands?.addressHints,
    get config() {
      return shown
    },
    version: options.version,
    startedAt: new Date(),
    problems: () => following.problems(),
    sockets: () => socketCounters(wire),
    workloads: { records, save: (changed) => store.save(changed) },
    log: { error: (fields, message) => log.say('error', 'api-fault', { ...fields, message }) },
  })
  log.say('notice', 'ready', { version: options.version, api: api.addresses })
  notifyReady()
  const endRehearsal = rehearse(capabilities)

  /** Other RLOCs need other sockets; throws with the former ones open when they cannot be had. */
  const rebind = (next: NodeConfig): void => {
    if (socketsOf(next) === socketsOf(nodeConfig)) return
    const open = (wanted: NodeConfig) =>
      openWire(wanted, addon, (inputs) => running.enqueue(inputs))
    wire.close()
    try {
      wire = open(next)
    } catch (error) {
      wire = open(nodeConfig)
      throw error
    }
  }

  const reload = async (): Promise<void> => {
    const next = loadConfig(options.configPath)
    if (!next.ok) {
      log.say('error', 'configuration-rejected', { errors: next.errors })
      return
    }
    const restart = needsRestart(config, next.config)
    if (restart.length > 0) log.say('warning', 'configuration-needs-restart', { keys: restart })
    if (!(await takeUp(next))) return
    running.raise({ name: 'configuration-reloaded', severity: 'notice' })
    await followInterfaces()
  }

  /** A new node of this configuration on the same store, sockets and maps; false: nothing changed. */
  const takeUp = async (next: Omit<Loaded, 'warnings'>): Promise<boolean> => {
    try {
      const nextInterfaces = await readInterfaces()
      rebind(next.nodeConfig)
      const ours = [...next.nodeConfig.eidPrefixes, ...next.nodeConfig.dynamicEidPrefixes]
      const keeping = ours.map(({ eidPrefix }) => eidPrefix)
      const keepingGroupsOf = instancesWithGroups(next.nodeConfig)
      await running.command({ kind: 'shutdown', withdraw: true, keeping, keepingGroupsOf })
      // Nothing may be acknowledged by the old node that the new one does not find in the store.
      await running.suspend()
      const stored = await store.load()
      hands?.datapath.reconfigure(next.nodeConfig, nextInterfaces)
      shown = next.config
      nodeConfig = next.nodeConfig
      interfaces = nextInterfaces
      running.replace(makeNode(nodeConfig), restoredFrom(stored))
      hands?.followSegments(nodeConfig)
    } catch (error) {
      const errors = [{ path: '', problem: String(error), hint: 'the former one stays in force' }]
      log.say('error', 'configuration-rejected', { errors })
      running.resume()
      return false
    }
    return true
  }

  /** One change of nodes at a time: a reload and a full journal may come together. */
  let changing: Promise<unknown> = Promise.resolve()
  const inTurn = (change: () => Promise<unknown>): Promise<void> => {
    const done = changing.then(change)
    changing = done.catch(() => {})
    return done.then(() => {})
  }

  /** A new node for a new journal, when no move is under way that it would not know. */
  const renew = (): void => {
    const isMoving = running
      .snapshot()
      .moves.some(({ state }) => state === 'preparing' || state === 'ready')
    if (!isMoving) void inTurn(() => takeUp({ config: shown, nodeConfig }))
  }

  const interfaceTrouble = (error: unknown): void =>
    log.say('warning', 'interfaces-not-followed', { why: String(error) })
  const watch = outfit?.watchInterfaces({
    onReading: (reading) => void inTurn(() => following.take(reading)).catch(interfaceTrouble),
    onFailure: interfaceTrouble,
  })

  const stop = async (onStop: OnStop = config.datapath.onStop): Promise<void> => {
    endRehearsal()
    watch?.close()
    // With the programs gone nobody shall send us packets; with `keep` we forward on.
    const withdraw = onStop === 'detach'
    await running.command({ kind: 'shutdown', withdraw })
    running.raise({ name: 'node-stopped', severity: 'notice' })
    running.stop()
    unsubscribe()
    await closeQuietly(api, log)
    wire.close()
    hands?.close(onStop)
    await recorder?.close()
    await store.close()
    log.close()
  }
  return { reload: () => inTurn(reload), stop, log }
}

/** What only a node that forwards needs, and no other has to load. */
async function loadOutfit() {
  const [{ createHands }, { readInterfaces }, { watchInterfaces }] = await Promise.all([
    import('./hands.js'),
    import('./interfaces.js'),
    import('./interface-watch.js'),
  ])
  return { createHands, readInterfaces, watchInterfaces }
}

function openWire(
  nodeConfig: NodeConfig,
  addon: NativeAddon,
  enqueue: RunningNode['enqueue'],
): UdpWire {
  return createUdpWire(addon, {
    addresses: nodeConfig.rlocs.map(({ address }) => address),
    port: CONTROL_PORT,
    onDatagrams: (batch) => enqueue(batch.map((datagram) => ({ kind: 'datagram', ...datagram }))),
  })
}

function socketCounters(wire: UdpWire): SocketCounters {
  const { received, sent, truncated, droppedByKernel, unsent } = wire.counters()
  const control = { received, sent, truncated, 'dropped-by-kernel': droppedByKernel }
  return { control, unsent }
}

/** Instances of which a run with this configuration serves groups at its segments. */
function instancesWithGroups({ multicast, siteInterfaces }: NodeConfig): readonly number[] {
  return multicast.enabled ? siteInterfaces.map(({ instanceId }) => instanceId) : []
}

function socketsOf(nodeConfig: NodeConfig): string {
  return JSON.stringify(nodeConfig.rlocs.map(({ address }) => [...address.bytes]))
}

/** Keys whose new values a running daemon does not take up. */
function needsRestart(before: Config, after: Config): string[] {
  const fixed = [
    'node',
    'datapath',
    'closedNetwork',
    'hold',
    'store',
    'record',
    'api',
    'log',
  ] as const
  return fixed.filter((key) => JSON.stringify(before[key]) !== JSON.stringify(after[key]))
}

function storeDirectory(config: Config): string {
  return config.store.directory ?? `/var/lib/godwit/${config.node}`
}

function openRecorder(
  config: Config,
  version: string,
  clock: Clock,
  log: Log,
  onFull: () => void,
): Recorder | undefined {
  if (config.record === undefined) return undefined
  const { maximumBytes } = config.record
  const directory = config.record.directory ?? join(storeDirectory(config), 'journal')
  const { node } = config
  return createRecorder({ directory, maximumBytes, node, version, clock, say: log.say, onFull })
}

async function closeQuietly(api: Api, log: Log): Promise<void> {
  await api.close().catch((error: unknown) => {
    log.say('warning', 'api-close-failed', { why: String(error) })
  })
}

/** systemd's Type=notify; Node has no datagram Unix sockets, so its own tool says it. */
function notifyReady(): void {
  if (process.env['NOTIFY_SOCKET'] === undefined) return
  spawn('systemd-notify', ['--ready', `--pid=${process.pid}`], { stdio: 'ignore' })
    // Started by something else that set the variable but has no systemd: nobody waits for it.
    .on('error', () => {})
}

// RFC 9301 §5: LISP control messages.
const CONTROL_PORT = 4342
