/**
 * Five ways in which packets can follow a virtual machine to another cloud, as data: what each of them
 * switches off in every daemon, and what is done at its move. They differ in nothing else.
 *
 * None of the first four is told of the move beforehand. `route` knows no LISP at all: an operator who
 * sees the machine resume changes one static route in the core at that moment.
 */
import type { Topology } from '../../src/config/topology-schema.js'
import type { AdjustConfig } from '../../src/lab/daemons.js'
import { namespaceFile } from '../../src/lab/names.js'
import { runProgram } from '../../src/lab/network.js'
import { addressesOf } from '../../src/lab/topology.js'

export const WAYS = ['route', 'away', 'smr', 'publish', 'prepared'] as const
export type Way = (typeof WAYS)[number]

export const WAY_WORDS: Readonly<Record<Way, string>> = {
  route: 'no LISP: route flipped at RESUME',
  away: 'away entry only: the old site redirects',
  smr: 'SMR only: the old site tells senders',
  publish: 'publish/subscribe: only RFC 9437',
  prepared: 'prepared: live move, all of it',
}

/** Whether daemons run at all, and whether the move is announced to them. */
export function isLisp(way: Way): boolean {
  return way !== 'route'
}

/** The configuration of every daemon with all but the one mechanism off; `prepared` has them all. */
export function adjustFor(way: Way): AdjustConfig {
  if (way === 'prepared' || way === 'route') return (_node, config) => config
  const mobility = { redirect: way === 'away', solicit: way === 'smr' }
  const isPublished = way === 'publish'
  return (_node, config) => {
    const roles = config['roles'] as readonly string[]
    return {
      ...config,
      ...(roles.includes('etr')
        ? {
            mobility: { ...(config['mobility'] as object | undefined), ...mobility },
            publishSubscribe: { subscribe: isPublished },
          }
        : {}),
      ...(roles.includes('map-server') ? { subscriptions: { accept: isPublished } } : {}),
    }
  }
}

/** Plain routes for everything, as if the clouds' addresses were the provider's own. */
export async function routeWithoutLisp(
  topology: Topology,
  endpoint: string,
  cloud: string,
): Promise<void> {
  const { nodes } = topology.topology
  const lines = SITES.flatMap(({ node, prefixes }) =>
    prefixes.map((prefix) => `route replace ${prefix} via ${rlocOf(nodes[node], prefix)}`),
  )
  await inCore(topology, lines)
  await flipRoute(topology, endpoint, cloud)
}

/** What the operator does at RESUME. */
export async function flipRoute(
  topology: Topology,
  endpoint: string,
  cloud: string,
): Promise<void> {
  const node = topology.topology.nodes[cloud]
  const lines = addressesOf(topology, endpoint).map(
    (address) => `route replace ${address} via ${rlocOf(node, address)}`,
  )
  await inCore(topology, lines)
}

function inCore(topology: Topology, lines: readonly string[]): Promise<string> {
  const netns = `--net=${namespaceFile(topology.name, 'core')}`
  return runProgram('nsenter', [netns, 'ip', '-batch', '-'], `${lines.join('\n')}\n`)
}

/** The node's address on its core link, of the family of `text`. */
function rlocOf(node: Topology['topology']['nodes'][string] | undefined, text: string): string {
  const mine = node?.addresses['core0']?.find((one) => one.includes(':') === text.includes(':'))
  if (mine === undefined) throw new Error(`no address towards the core for ${text}`)
  return mine.split('/')[0]!
}

/** Where topologies/two-clouds.yaml has its hosts. */
const SITES = [{ node: 'client', prefixes: ['10.20.0.0/24', 'fd00:20::/64'] }] as const
