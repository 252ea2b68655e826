/**
 * What a large map-cache costs: packets to destinations spread over all cached EIDs, first with ten
 * entries, then with a million host EIDs and a hundred thousand prefixes.
 *
 * The sender's work is the same in both cases (a socket that is not connected, addresses without
 * locality), so the difference is lookups and cache misses. Each entry has its own counter; all share
 * one locator-set, as the EIDs of one site do.
 */
import { type Figure, runUdp } from './loads.js'
import { openNetwork } from './network.js'
import { createPaths } from './paths.js'
import { median, rounded, type Scale } from './results.js'
import { SCALE_HOSTS, SCALE_PREFIX_LENGTH, SCALE_PREFIXES } from './topology.js'

export interface ScaleOptions {
  readonly runs: number
  readonly seconds: number
  readonly vxlanGro: boolean
}

/** Brings up a network of its own: the maps must be made large at start. */
export async function measureScale(
  options: ScaleOptions,
  say: (line: string) => void,
): Promise<Scale> {
  const network = await openNetwork({ rlocFamily: 4, maximumMappings: MAXIMUM_MAPPINGS, say })
  try {
    const paths = createPaths(network, options)
    await paths.setCore('gso')
    await paths.use('godwit', 4)
    const runs: (Figure & { entries: string })[] = []
    const measure = async (entries: string, hosts: number, prefixes: number): Promise<number> => {
      const words = spreadWords(hosts, prefixes)
      // Neighbours and caches of the machine settle.
      await runUdp(network, words, WARM_UP_SECONDS)
      const costs: number[] = []
      for (let run = 0; run < options.runs; run += 1) {
        const figure = await runUdp(network, words, options.seconds)
        runs.push({ entries, ...figure })
        costs.push(figure.cpuNsPerPacket)
      }
      const cost = rounded(median(costs))!
      say(`scale: ${entries}: ${cost} ns of CPU per packet`)
      return cost
    }
    await network.agents.xa.ask({ do: 'fill', hosts: SMALL.hosts, prefixes: SMALL.prefixes })
    const small = await measure('small', SMALL.hosts, SMALL.prefixes)
    const filled = await network.agents.xa.ask({ do: 'fill', ...LARGE })
    say(`scale: filled in ${Math.round(filled.ms ?? 0)} ms`)
    const large = await measure('large', LARGE.hosts, LARGE.prefixes)
    const largeHosts = await measure('large, hosts only', LARGE.hosts, 0)
    const largePrefixes = await measure('large, prefixes only', 0, LARGE.prefixes)
    return {
      entries: { small: SMALL.hosts + SMALL.prefixes, large: LARGE.hosts + LARGE.prefixes },
      fillMs: Math.round(filled.ms ?? 0),
      cpuNsPerPacket: { small, large, largeHosts, largePrefixes },
      ratio: rounded(large / small)!,
      runs,
    }
  } finally {
    network.close()
  }
}

function spreadWords(hosts: number, prefixes: number): string[] {
  const stride = 2 ** (32 - SCALE_PREFIX_LENGTH)
  const ranges = [
    ...(hosts > 0 ? [`${SCALE_HOSTS},${hosts},1`] : []),
    ...(prefixes > 0 ? [`${SCALE_PREFIXES},${prefixes},${stride}`] : []),
  ]
  return ['--to', SCALE_HOSTS, '--size', '36', ...ranges.flatMap((range) => ['--spread', range])]
}

const SMALL = { hosts: 9, prefixes: 1 }
const LARGE = { hosts: 1_000_000, prefixes: 100_000 }
const MAXIMUM_MAPPINGS = 1_200_000
const WARM_UP_SECONDS = 0.2
