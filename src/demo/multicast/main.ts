/**
 * `npm run demo:multicast`: groups across a core that carries none, while receivers come and go and a
 * source and a receiver move between sites; every packet is counted at every receiver.
 *
 * Exit 0: everybody got everything once, and nobody what was not theirs; 1: not, or could not run; 2:
 * wrong usage; 130: interrupted. Set-up words go to stderr; with --json the story does too.
 */
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command, InvalidArgumentError } from 'commander'
import { missingRouter, startPimRouter } from '../../lab/frr.js'
import { bringUp } from '../../lab/lab.js'
import { labPaths, namespaceFile, packageFile } from '../../lab/names.js'
import { runProgram } from '../../lab/network.js'
import { openPanel } from '../../lab/panel.js'
import { addressesOf, type LoadedTopology, panelOf } from '../../lab/topology.js'
import { inLab } from '../in-lab.js'
import { monotonicNs, type PerformedMove, performMove } from '../perform-move.js'
import { type Probe, startProbe } from '../probe-process.js'
import { decodeRecords, type PacketRecord } from '../records.js'
import { computeGroupFigures, type GroupMoveWindow, type Membership, type Stay } from './figures.js'
import { type Listener, STREAM_PORT, startListener } from './listener.js'
import { type GroupExpectation, judgeGroups } from './result.js'
import {
  LEAVER,
  LEFT,
  LISTENINGS,
  type Listening,
  ROUTER,
  ROUTER_CONFIG,
  STREAMS,
  UNASKED_GROUP,
} from './script.js'
import { createGroupStory, type GroupStory } from './story.js'
import { copiesOf, describeTree } from './tree.js'

interface Options {
  readonly json: boolean
  readonly out?: string
  readonly name: string
  readonly packets: number
  readonly moves?: number
  readonly cut?: string
}

interface Member extends Membership {
  readonly listening: Listening
  readonly stays: Stay[]
}

/** What runs, for the steps of the story. */
interface Stage {
  readonly loaded: LoadedTopology
  readonly options: Options
  readonly story: GroupStory
  readonly listeners: ReadonlyMap<string, Listener>
  readonly members: Member[]
}

function main(): Promise<number> {
  const program = new Command('demo:multicast')
    .description('Groups across a core without multicast; receivers come and go, sources move.')
    .option('--json', 'end with one JSON line on stdout', false)
    .option('--out <directory>', 'keep the packet records')
    .option('--name <name>', 'run under this name, so that two can run at once', 'multicast')
    .option('--packets <number>', 'at least so many for every receiver', wholeNumber, PACKETS)
    .option('--moves <number>', 'only so many', wholeNumber)
    .option('--cut <node>', 'pull this node’s cable at last: what do the figures say?')
    .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2))
  const options = program.parse().opts<Options>()
  const file = packageFile('topologies', 'multicast.yaml')
  return inLab(file, options.name, (loaded) => run(loaded, options))
}

async function run(loaded: LoadedTopology, options: Options): Promise<number> {
  const { topology } = loaded
  const story = createGroupStory(options.json ? process.stderr : process.stdout)
  await bringUp(loaded, { say: (line) => void process.stderr.write(`# ${line}\n`) })
  const directory = options.out ?? join(labPaths(topology.name).state, 'records')
  mkdirSync(directory, { recursive: true })

  const chosen = await withRouter(loaded)
  const hosts = [...new Set(chosen.map(({ receiver }) => receiver))]
  const started = await Promise.all(
    hosts.map((node) =>
      startListener(topology.name, node, join(directory, `${node}-received.records`)),
    ),
  )
  const listeners = new Map(started.map((one) => [one.node, one]))
  const senders = startSenders(topology.name, directory)
  story.begin()
  const stage: Stage = { loaded, options, story, listeners, members: [] }
  await pause(WARM_UP_MS)
  for (const listening of chosen) await joinOne(stage, listening)
  await pause(SETTLE_MS)
  await tellTree(stage)
  const joinedAt = performance.now()
  const stayed = await leaveAndReturn(stage)
  const { windows, failures } = await performMoves(stage)
  if (options.cut !== undefined) windows.push(await cutOff(stage, options.cut))
  // Who joined last has to get its number of packets too.
  await pause((options.packets / PACKETS_PER_SECOND) * 1000 - (performance.now() - joinedAt))
  const unaskedCopies = (await copiesOf(topology, UNASKED_GROUP)).length
  await Promise.all(senders.map((sender) => sender.probe.end()))
  await pause(STRAGGLER_MS)
  let overflow = 0
  for (const listener of started) overflow += await listener.stop()

  const records = (file: string): readonly PacketRecord[] =>
    decodeRecords(readFileSync(file)).records
  const figures = computeGroupFigures(
    STREAMS,
    stage.members,
    senders.flatMap(({ file }) => records(file)),
    new Map(started.map(({ node, recordFile }) => [node, records(recordFile)])),
    windows,
  )
  const expected: GroupExpectation = {
    memberships: chosen.filter(({ stream }) => stream !== undefined).length,
    moves: movesOf(stage).length,
    failures: [...stayed, ...failures],
    leastPackets: options.packets,
    unaskedCopies,
    overflow,
  }
  const { result, reasons } = judgeGroups(figures, expected)
  story.summary(result, reasons)
  if (options.json) process.stdout.write(`${JSON.stringify(result)}\n`)
  return result.ok ? 0 : 1
}

/** Who listens: with a real router in the site, where there is one, also who is behind it. */
async function withRouter({ topology }: LoadedTopology): Promise<readonly Listening[]> {
  const reason = missingRouter()
  if (reason === undefined) {
    await startPimRouter(topology, ROUTER, ROUTER_CONFIG)
    process.stderr.write('# FRR speaks PIM in router\n')
    return LISTENINGS
  }
  process.stderr.write(`# ${reason} Nobody listens behind it.\n`)
  return LISTENINGS.filter(({ behindRouter }) => behindRouter !== true)
}

function startSenders(topology: string, directory: string): { probe: Probe; file: string }[] {
  return [...new Set(STREAMS.map(({ from }) => from))].map((node) => {
    const file = join(directory, `${node}-sent.records`)
    const own = STREAMS.filter(({ from }) => from === node)
    const streams = own.flatMap(({ id, address }) => [
      '--stream',
      `${id},${address},${STREAM_PORT}`,
    ])
    const pace = ['--rate', String(PACKETS_PER_SECOND), '--records', file]
    const probe = startProbe(topology, node, `${node}-sender`, [
      'stream',
      'send',
      ...streams,
      ...pace,
    ])
    return { probe, file }
  })
}

async function joinOne(stage: Stage, listening: Listening): Promise<void> {
  const { receiver, group, source, stream } = listening
  const joinedNs = await stage.listeners.get(receiver)!.join(group, source)
  stage.story.joined(receiver, group, source)
  const stay = { joinedNs, leftNs: undefined }
  const known = stage.members.find((one) => one.listening === listening)
  if (known === undefined) stage.members.push({ receiver, stream, listening, stays: [stay] })
  else known.stays.push(stay)
  await pause(BETWEEN_JOINS_MS)
}

/** What went wrong: nothing, or that its site was copied to long after. */
async function leaveAndReturn(stage: Stage): Promise<readonly string[]> {
  const { topology } = stage.loaded
  const { receiver, group, source } = LEAVER
  const member = stage.members.find(({ listening }) => listening === LEAVER)!
  member.stays.at(-1)!.leftNs = await stage.listeners.get(receiver)!.leave(group, source)
  stage.story.left(receiver, group, source)
  const rlocs = addressesOf(topology, LEFT.site)
  const leftAt = performance.now()
  const isCopied = async (): Promise<boolean> =>
    (await copiesOf(topology, LEFT.group)).some((rloc) => rlocs.includes(rloc))
  let isLate = false
  while (!isLate && (await isCopied())) {
    await pause(ASK_AGAIN_MS)
    isLate = performance.now() - leftAt > LEAVE_LIMIT_MS
  }
  const seconds = ((performance.now() - leftAt) / 1000).toFixed(1)
  if (!isLate) stage.story.line(`      ${LEFT.site} is copied nothing of it after ${seconds} s`)
  await tellTree(stage)
  await joinOne(stage, LEAVER)
  await pause(SETTLE_MS)
  await tellTree(stage)
  return isLate ? [`${LEFT.site} was copied to ${seconds} s after its last receiver had left`] : []
}

/** As if somebody had pulled the cable between `node` and the core; a second of that. */
async function cutOff({ loaded, story }: Stage, node: string): Promise<GroupMoveWindow> {
  const fromNs = monotonicNs()
  const netns = `--net=${namespaceFile(loaded.topology.name, node)}`
  await runProgram('nsenter', [netns, 'ip', 'link', 'set', 'core0', 'down'])
  story.line(`      ${node} is cut off from the core`)
  await pause(CUT_MS)
  return { what: `${node}: cut off`, fromNs, untilNs: Number.POSITIVE_INFINITY }
}

/** The file's moves, or the first so many of them. */
function movesOf({ loaded, options }: Stage): LoadedTopology['topology']['moves'] {
  return loaded.topology.moves.slice(0, options.moves)
}

async function performMoves(
  stage: Stage,
): Promise<{ windows: GroupMoveWindow[]; failures: string[] }> {
  const { topology } = stage.loaded
  const moves = movesOf(stage)
  const done: PerformedMove[] = []
  for (const { endpoint, to, trigger } of moves) {
    const panel = openPanel(topology, panelOf(topology, endpoint)!)
    const traffic = { freeze: async () => {}, thaw: () => {} }
    try {
      const context = { topology, endpoint, instanceId: INSTANCE, panel, traffic }
      const move = await performMove(context, to, trigger)
      done.push(move)
      stage.story.moved(endpoint, move)
    } finally {
      panel.close()
    }
    await pause(BETWEEN_MOVES_MS)
    await tellTree(stage)
  }
  const endNs = stage.options.cut === undefined ? Number.POSITIVE_INFINITY : monotonicNs()
  const windows = done.map(({ from, to, requestedNs }, index) => ({
    what: `${moves[index]!.endpoint}: ${from} → ${to}`,
    fromNs: requestedNs - WINDOW_LEAD_NS,
    untilNs: (done[index + 1]?.requestedNs ?? endNs) - WINDOW_LEAD_NS,
  }))
  return { windows, failures: done.flatMap(({ failure }) => failure ?? []) }
}

async function tellTree({ loaded: { topology }, story }: Stage): Promise<void> {
  const panel = openPanel(topology, panelOf(topology, SOURCE)!)
  const at = panel.active() ?? ''
  panel.close()
  for (const group of TOLD_GROUPS)
    story.line(`      ${group}: ${await describeTree(topology, group, at)}`)
}

function wholeNumber(text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('A whole number.')
  return value
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)))
}

const INSTANCE = 7
const SOURCE = 'camera'
const TOLD_GROUPS = ['[7](10.40.0.5,232.1.1.1)', '[7](10.40.0.5,239.1.1.1)']
const PACKETS_PER_SECOND = 1_000
const PACKETS = 10_000
const WARM_UP_MS = 500
const BETWEEN_JOINS_MS = 100
const SETTLE_MS = 500
const ASK_AGAIN_MS = 50
/** Two queries of a second each (RFC 3376 §8.9), and what a busy machine takes. */
const LEAVE_LIMIT_MS = 8_000
const CUT_MS = 1_000
const BETWEEN_MOVES_MS = 1_500
const STRAGGLER_MS = 500
const WINDOW_LEAD_NS = 1_000_000

main().then(
  (code) => process.exit(code),
  (cause: Error) => {
    process.stderr.write(`${cause.message}\n`)
    process.exit(1)
  },
)
