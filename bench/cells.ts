/**
 * The comparison: every path, core and load, over Godwit, VXLAN and plain forwarding in turn.
 *
 * Runs alternate: one round visits every place with every system once, the order of the systems
 * rotates from round to round, and a median is taken over rounds. So a slow minute of the machine
 * hits all systems alike. RLOC families differ in the daemons' configuration, so each has its own
 * network.
 */
import { type Figure, type LatencyFigure, type Load, runLatency, runLoad } from './loads.js'
import { openNetwork } from './network.js'
import { type BenchOptions, familiesOf, type Path } from './options.js'
import { type Core, createPaths, type Paths, type System } from './paths.js'
import { measureResolution } from './resolution.js'
import {
  type Cell,
  type LatencyRow,
  makeCell,
  makeLatencyRow,
  type Resolution,
  type Run,
} from './results.js'
import type { Family } from './topology.js'

export interface Comparison {
  readonly cells: readonly Cell[]
  readonly latency: readonly LatencyRow[]
  readonly resolution: Resolution | null
}

interface Place {
  readonly path: Path
  readonly core: Core
}

/** Resolution is measured here too, because the first network is fresh: nobody asked for anything. */
export async function compare(
  options: BenchOptions,
  say: (line: string) => void,
): Promise<Comparison> {
  const figures = new Map<string, Run<Figure>[]>()
  const latencies = new Map<string, Run<LatencyFigure>[]>()
  const places = options.paths.flatMap((path) => options.cores.map((core) => ({ path, core })))
  let resolution: Resolution | null = null
  const compares = options.parts.includes('cells') || options.parts.includes('latency')
  const families = compares ? OUTER_FAMILIES : OUTER_FAMILIES.slice(0, 1)
  let budgetMs = options.budgetSeconds * 1_000
  for (const outer of families) {
    const here = compares ? places.filter(({ path }) => familiesOf(path).outer === outer) : []
    const resolves = options.parts.includes('resolution') && outer === OUTER_FAMILIES[0]
    if (here.length === 0 && !resolves) continue
    const network = await openNetwork({ rlocFamily: outer, say })
    try {
      if (resolves) resolution = await measureResolution(options.quick ? 1 : 3, say)
      const began = performance.now()
      const share = (budgetMs * here.length) / Math.max(1, placesFrom(places, outer))
      const paths = createPaths(network, options)
      for (let round = 0; round < options.runs && here.length > 0; round += 1) {
        if (round > 0 && ((performance.now() - began) / round) * (round + 1) > share) {
          say(`time is up: ${round} of ${options.runs} runs over IPv${outer} RLOCs`)
          break
        }
        for (const place of here) {
          await visit({ place, round, options, network, paths, figures, latencies, say })
        }
      }
      budgetMs -= performance.now() - began
    } finally {
      network.close()
    }
  }
  const cells = places.flatMap((place) =>
    options.loads.flatMap((load) => {
      const runs = figures.get(keyOf(place, load))
      return runs === undefined ? [] : [makeCell({ ...place, load }, runs)]
    }),
  )
  const latency = places.flatMap((place) => {
    const runs = latencies.get(keyOf(place, 'latency'))
    return runs === undefined ? [] : [makeLatencyRow(place, runs)]
  })
  return { cells, latency, resolution }
}

/** One place with every system once. */
async function visit(visit: {
  readonly place: Place
  readonly round: number
  readonly options: BenchOptions
  readonly network: Awaited<ReturnType<typeof openNetwork>>
  readonly paths: Paths
  readonly figures: Map<string, Run<Figure>[]>
  readonly latencies: Map<string, Run<LatencyFigure>[]>
  readonly say: (line: string) => void
}): Promise<void> {
  const { place, round, options, network, paths, say } = visit
  const { inner } = familiesOf(place.path)
  await paths.setCore(place.core)
  for (const system of systemsOf(place, round, options)) {
    await paths.use(system, inner)
    const words: string[] = []
    for (const load of loadsOf(place, system, round, options)) {
      const figure = await runLoad(network, load, inner, options.times)
      append(visit.figures, keyOf(place, load), { system, round, ...figure })
      words.push(`${load} ${brief(figure.perCpuSecond)}`)
    }
    // Latency does not depend on segmentation in the core.
    if (
      options.parts.includes('latency') &&
      place.core === options.cores[0] &&
      system !== 'rfc9305'
    ) {
      const figure = await runLatency(network, inner, options.times.latencySeconds)
      append(visit.latencies, keyOf(place, 'latency'), { system, round, ...figure })
      words.push(`latency ${figure.medianUs.toFixed(1)} µs`)
    }
    if (words.length === 0) continue
    const where = `${place.path} ${place.core} ${system}`.padEnd(19)
    say(`run ${round + 1} ${where} ${words.join(', ')}`)
  }
}

function systemsOf({ core }: Place, round: number, options: BenchOptions): System[] {
  const systems: System[] = ['godwit', 'vxlan', 'plain']
  const tcp = options.loads.some((load) => load.startsWith('tcp'))
  if (core === 'mtu' && tcp && options.parts.includes('cells')) systems.push('rfc9305')
  const turn = round % systems.length
  return [...systems.slice(turn), ...systems.slice(0, turn)]
}

/** A quick run leaves out what the other paths show as well; the full one leaves out nothing. */
function loadsOf({ path }: Place, system: System, round: number, options: BenchOptions): Load[] {
  if (!options.parts.includes('cells')) return []
  const loads = options.loads.filter((load) => system !== 'rfc9305' || load.startsWith('tcp'))
  if (!options.quick || path === 'v4/v4' || round === 0) return loads
  return loads.filter((load) => !(['tcp4', 'udp1400'] as Load[]).includes(load))
}

/** How many places are still to come, this family's included. */
function placesFrom(places: readonly Place[], outer: Family): number {
  const from = OUTER_FAMILIES.indexOf(outer)
  return places.filter(({ path }) => OUTER_FAMILIES.indexOf(familiesOf(path).outer) >= from).length
}

function append<Value>(lists: Map<string, Value[]>, key: string, value: Value): void {
  const list = lists.get(key)
  if (list === undefined) lists.set(key, [value])
  else list.push(value)
}

function keyOf({ path, core }: Place, load: string): string {
  return `${path} ${core} ${load}`
}

function brief(value: number): string {
  return value >= 1_000 ? `${Math.round(value / 1_000)}k` : value.toFixed(1)
}

const OUTER_FAMILIES: readonly Family[] = [4, 6]
