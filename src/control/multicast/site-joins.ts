/**
 * The receiver site without registrations: joining at the xTR of the source (RFC 6831 §4, RFC 8059).
 *
 * For each group that somebody listens to, the EID of its root (the source, or the rendezvous point, which
 * an IPv6 group may name) is looked up, one xTR of its site chosen, and a Join sent there by unicast,
 * once a minute as long as anybody listens. Transport and Receiver-RLOC are said once per message, at
 * the upstream neighbour (RFC 7887). Where the core carries groups it is joined as well, towards that
 * RLOC. A root without LISP is joined through the core as it is. Another choice (a locator is down,
 * the mapping has changed, an SMR has come) joins there first and prunes here after.
 */
import type { NodeConfig } from '../../config/node-config.js'
import { equalIpAddresses, formatIpAddress, type IpAddress } from '../../lisp/address.js'
import { coversEid, type Eid, type EidPrefix, formatEid } from '../../lisp/eid.js'
import { LISP_DATA_PORT } from '../../lisp/iana.js'
import type { Locator, Rloc } from '../../lisp/locator.js'
import { encodeEncapsulatedPim } from '../../lisp/multicast/encapsulated-pim.js'
import { formatGroup, type MulticastGroup } from '../../lisp/multicast/multicast-group.js'
import type { JoinAttribute, Transport } from '../../lisp/multicast/pim-addresses.js'
import type { Instant } from '../capabilities.js'
import { sourceRloc } from '../control-datagram.js'
import { createDeadlines } from '../deadlines.js'
import type { Output } from '../input-output.js'
import type { Itr } from '../itr/itr.js'
import { report } from '../outputs.js'
import type { PimLinks } from './pim-links.js'
import { joinPruneGroup, joinPrunes, PERIODIC_MS, type WantedGroup } from './pim-upstream.js'
import { rendezvousPointOf } from './rendezvous-point.js'
import { chooseRoot, coreGroupOf, isCarriedByCore } from './root-choice.js'

export interface SiteJoins {
  /** Whether anybody here listens to a group whose root is elsewhere. */
  update(group: MulticastGroup, isWanted: boolean, now: Instant, outputs: Output[]): void
  /** Somebody says that the mapping of these EIDs is another now. */
  solicited(eidPrefix: EidPrefix, now: Instant, outputs: Output[]): void
  /** Prunes everything, once. */
  leave(outputs: Output[]): void
  handleDeadline(now: Instant, outputs: Output[]): void
  deadline(): Instant | undefined
  /** RLOC that a group is joined at; undefined: not joined, or through the core as it is. */
  upstreamOf(group: MulticastGroup): Rloc | undefined
}

export interface SiteJoinParts {
  readonly question: Itr['question']
  isDown(rloc: Rloc): boolean
  readonly links: Pick<PimLinks, 'want' | 'unwant'>
}

type Upstream =
  | { readonly kind: 'xtr'; readonly rloc: Rloc }
  /** Joined in the core as if there were no LISP. */
  | { readonly kind: 'native' }

interface Root {
  readonly eid: Eid
  readonly groups: Map<string, Joined>
  /** Undefined until the mapping system has answered. */
  locators: readonly Locator[] | undefined
  asking: boolean
}

interface Joined {
  readonly wanted: WantedGroup
  upstream: Upstream | undefined
}

/** Three Map-Requests, at 0, 1 and 3 s. */
const QUESTION_MS = 4000
/** Our choice: how soon a locator that probing finds down is left. */
const CHECK_MS = 2000
const CHECK = 'check'

export function createSiteJoins(config: NodeConfig, parts: SiteJoinParts): SiteJoins {
  const roots = new Map<string, Root>()
  /** Name of a group → name of its root. */
  const rootNames = new Map<string, string>()
  const deadlines = createDeadlines()

  // ------------------------------------------------------------------ who is asked

  function ask(name: string, root: Root, now: Instant, outputs: Output[]): void {
    if (root.asking) return
    root.asking = true
    parts.question(
      root.eid,
      now + QUESTION_MS,
      (mapping, at, more) => {
        root.asking = false
        if (roots.get(name) !== root) return
        if (mapping === undefined) {
          // What was true is taken for true until somebody says otherwise; asked again in a minute.
          report(more, 'join-refused', 'notice', { reason: 'no-reply', root: name })
          return
        }
        root.locators = mapping.locators
        choose(root, at, more)
      },
      now,
      outputs,
    )
  }

  function choose(root: Root, now: Instant, outputs: Output[]): void {
    const { locators } = root
    if (locators === undefined) return
    const joining = new Map<string, { rloc: Rloc; groups: WantedGroup[] }>()
    const leaving = new Map<string, { rloc: Rloc; groups: WantedGroup[] }>()
    for (const joined of root.groups.values()) {
      const { wanted, upstream } = joined
      const rloc = chooseRoot(config, wanted.group, locators, parts.isDown)
      const next: Upstream = rloc === undefined ? { kind: 'native' } : { kind: 'xtr', rloc }
      if (isSame(upstream, next)) continue
      joined.upstream = next
      if (upstream?.kind === 'xtr') together(leaving, upstream.rloc, wanted)
      if (next.kind === 'xtr') together(joining, next.rloc, wanted)
      joinCore(wanted, next, now, outputs)
    }
    for (const { rloc, groups } of joining.values()) say('join', rloc, groups, outputs)
    for (const { rloc, groups } of leaving.values()) say('prune', rloc, groups, outputs)
  }

  // ------------------------------------------------------------------ what is said

  function say(
    what: 'join' | 'prune',
    rloc: Rloc,
    wanted: readonly WantedGroup[],
    outputs: Output[],
  ): void {
    const own = sourceRloc(config, rloc)
    const instanceId = wanted[0]?.group.instanceId
    if (own === undefined || instanceId === undefined) return
    const byTerms = new Map<string, { attributes: JoinAttribute[]; groups: WantedGroup[] }>()
    for (const one of wanted) {
      const attributes = attributesFor(config, own, one.group.group)
      const key = formatIpAddress(attributes.receiver)
      const same = byTerms.get(key) ?? { attributes: attributes.all, groups: [] }
      same.groups.push(one)
      byTerms.set(key, same)
    }
    for (const { attributes, groups } of byTerms.values()) {
      const lines = groups.map((one) => joinPruneGroup(one, what))
      for (const message of joinPrunes(rloc, lines, attributes)) {
        const addresses = { source: own, destination: rloc }
        const bytes = encodeEncapsulatedPim({ instanceId, ...addresses, message })
        outputs.push({ kind: 'send', from: own, to: rloc, toPort: LISP_DATA_PORT, bytes })
      }
    }
    report(outputs, 'join-sent', 'info', {
      reason: what,
      to: formatIpAddress(rloc),
      groups: wanted.map(({ group }) => formatGroup(group)).slice(0, MAXIMUM_SHOWN),
    })
  }

  /** The tree in the core: to the RLOC where it carries groups, or to the root as it is. */
  function joinCore(
    wanted: WantedGroup,
    upstream: Upstream | undefined,
    now: Instant,
    outputs: Output[],
  ): void {
    if (!isCarriedByCore(config)) {
      if (upstream?.kind === 'native') reportUnreachable(wanted, outputs)
      return
    }
    const { group } = wanted
    const key = formatGroup(group)
    const former = coreNames.get(key)
    const tree = upstream && coreTree(config, wanted, upstream)
    if (former !== undefined && !(tree && formatGroup(tree.group) === formatGroup(former))) {
      coreNames.delete(key)
      parts.links.unwant(former, outputs)
    }
    if (tree === undefined) return
    coreNames.set(key, tree.group)
    parts.links.want(tree, coreInterface(config, group.group), now, outputs)
  }
  /** What each group is called in the core. */
  const coreNames = new Map<string, MulticastGroup>()

  function drop(key: string, outputs: Output[]): void {
    const rootName = rootNames.get(key)
    const root = rootName === undefined ? undefined : roots.get(rootName)
    const joined = root?.groups.get(key)
    if (rootName === undefined || root === undefined || joined === undefined) return
    root.groups.delete(key)
    rootNames.delete(key)
    if (joined.upstream?.kind === 'xtr')
      say('prune', joined.upstream.rloc, [joined.wanted], outputs)
    joinCore(joined.wanted, undefined, 0, outputs)
    if (root.groups.size > 0) return
    roots.delete(rootName)
    deadlines.cancel(`${ROOT}${rootName}`)
    if (roots.size === 0) deadlines.cancel(CHECK)
  }

  /** RFC 6831 §4: periodically, while the list of outgoing interfaces is not empty. */
  function repeat(name: string, now: Instant, outputs: Output[]): void {
    const root = roots.get(name)
    if (root === undefined) return
    deadlines.set(`${ROOT}${name}`, now + PERIODIC_MS)
    const byRloc = new Map<string, { rloc: Rloc; groups: WantedGroup[] }>()
    for (const { wanted, upstream } of root.groups.values())
      if (upstream?.kind === 'xtr') together(byRloc, upstream.rloc, wanted)
    for (const { rloc, groups } of byRloc.values()) say('join', rloc, groups, outputs)
    ask(name, root, now, outputs)
  }

  return {
    update(group, isWanted, now, outputs) {
      if (config.multicast.pim?.joinSites !== true) return
      const key = formatGroup(group)
      if (!isWanted) return drop(key, outputs)
      if (rootNames.has(key)) return
      const configured = config.multicast.pim.rendezvousPoints
      const rendezvousPoint = group.source ?? rendezvousPointOf(configured, group.group)
      if (rendezvousPoint === undefined) {
        const reason = 'no-rendezvous-point'
        report(outputs, 'join-refused', 'notice', { reason, group: key })
        return
      }
      const eid = { instanceId: group.instanceId, address: rendezvousPoint }
      const name = formatEid(eid)
      const root = roots.get(name) ?? { eid, groups: new Map(), locators: undefined, asking: false }
      if (!roots.has(name)) deadlines.set(`${ROOT}${name}`, now + PERIODIC_MS)
      if (roots.size === 0) deadlines.set(CHECK, now + CHECK_MS)
      roots.set(name, root)
      rootNames.set(key, name)
      const wanted = { group, rendezvousPoint: group.source ? undefined : rendezvousPoint }
      root.groups.set(key, { wanted, upstream: undefined })
      if (root.locators === undefined) ask(name, root, now, outputs)
      else choose(root, now, outputs)
    },
    solicited(eidPrefix, now, outputs) {
      for (const [name, root] of roots)
        if (coversEid(eidPrefix, root.eid)) ask(name, root, now, outputs)
    },
    leave(outputs) {
      for (const key of [...rootNames.keys()]) drop(key, outputs)
    },
    handleDeadline(now, outputs) {
      for (const key of deadlines.due(now)) {
        if (key !== CHECK) {
          repeat(key.slice(ROOT.length), now, outputs)
          continue
        }
        if (roots.size > 0) deadlines.set(CHECK, now + CHECK_MS)
        for (const root of roots.values()) choose(root, now, outputs)
      }
    },
    deadline: () => deadlines.next(),
    upstreamOf(group) {
      const key = formatGroup(group)
      const root = roots.get(rootNames.get(key) ?? '')
      const upstream = root?.groups.get(key)?.upstream
      return upstream?.kind === 'xtr' ? upstream.rloc : undefined
    },
  }
}

const ROOT = 'root '
const MAXIMUM_SHOWN = 16

function together(
  byRloc: Map<string, { rloc: Rloc; groups: WantedGroup[] }>,
  rloc: Rloc,
  wanted: WantedGroup,
): void {
  const key = formatIpAddress(rloc)
  const same = byRloc.get(key) ?? { rloc, groups: [] }
  same.groups.push(wanted)
  byRloc.set(key, same)
}

function isSame(a: Upstream | undefined, b: Upstream): boolean {
  if (a === undefined || a.kind !== b.kind) return false
  return a.kind === 'native' || (b.kind === 'xtr' && equalIpAddresses(a.rloc, b.rloc))
}

/** RFC 8059 §4, §5; a group as receiver only where the core carries it (RFC 9798 §3.2). */
function attributesFor(
  config: NodeConfig,
  own: Rloc,
  group: IpAddress,
): { readonly receiver: IpAddress; readonly all: JoinAttribute[] } {
  if (!isCarriedByCore(config)) return { receiver: own, all: attributesOf('unicast', own) }
  const receiver = coreGroupOf(config, group)
  return { receiver, all: attributesOf('multicast', receiver) }
}

function attributesOf(transport: Transport, rloc: IpAddress): JoinAttribute[] {
  return [
    { kind: 'transport', transport },
    { kind: 'receiver-rloc', rloc },
  ]
}

/**
 * (S-RLOC,G) in the core, of a shared tree as well: the root of the tree in the core is an RLOC, never
 * the rendezvous point's EID that an embedded-RP group names (RFC 6831 §10). Of a root without LISP the
 * join goes on unchanged (§9.1).
 */
function coreTree(config: NodeConfig, { group, rendezvousPoint }: WantedGroup, upstream: Upstream) {
  if (upstream.kind === 'native') {
    return { group: { ...group, instanceId: 0 }, rendezvousPoint }
  }
  const core = coreGroupOf(config, group.group)
  const name = { instanceId: 0, source: upstream.rloc, group: core }
  return { group: name, rendezvousPoint: undefined }
}

function coreInterface({ rlocs }: NodeConfig, { family }: IpAddress): string {
  const alike = rlocs.find(({ address }) => address.family === family)
  return (alike ?? rlocs[0]!).interfaceName
}

function reportUnreachable({ group }: WantedGroup, outputs: Output[]): void {
  const reason = 'root-without-lisp'
  report(outputs, 'join-refused', 'notice', { reason, group: formatGroup(group) })
}
