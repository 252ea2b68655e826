/**
 * What IGMP, MLD and PIM messages say, as words for one line of text.
 *
 * Groups are written as everywhere: (S,G), with `*` for any source. At most `MAXIMUM_SHOWN` of them; a
 * count stands for the rest. Never throws, whatever a peer sent.
 */
import { formatIpAddress, isUnspecified } from '../lisp/address.js'
import type { GroupRecord, MembershipMessage } from '../lisp/multicast/membership.js'
import type { JoinPruneGroup, PimMessage } from '../lisp/multicast/pim.js'
import type { EncodedSource } from '../lisp/multicast/pim-addresses.js'

/** One line of at most some hundred characters. */
export function describeMulticast(message: MembershipMessage | PimMessage): string {
  switch (message.kind) {
    case 'membership-query': {
      const sources = message.sourceTerms?.sources.map(formatIpAddress) ?? []
      const about = isUnspecified(message.group)
        ? 'general'
        : namesOf(formatIpAddress(message.group), sources)
      return `${message.protocol}v${message.version} query ${about}`
    }
    case 'membership-report':
      return `${message.protocol}v${message.version} report (*,${formatIpAddress(message.group)})`
    case 'membership-leave':
      return `${message.protocol} leave (*,${formatIpAddress(message.group)})`
    case 'source-membership-report':
      return `${message.protocol} report ${listed(message.records, recordText)}`
    case 'pim-hello':
      return 'pim-hello'
    case 'pim-join-prune': {
      const to = formatIpAddress(message.upstreamNeighbor.address)
      return `pim-join-prune to ${to} ${listed(message.groups, joinPruneText)}`
    }
    case 'pim-assert':
      return `pim-assert ${namesOf(formatIpAddress(message.group.address), [
        formatIpAddress(message.source.address),
      ])}`
    case 'pim-other':
      return `pim type ${message.type}`
  }
}

function recordText({ type, group, sources }: GroupRecord): string {
  return `${type} ${namesOf(formatIpAddress(group), sources.map(formatIpAddress))}`
}

function joinPruneText({ group, joined, pruned }: JoinPruneGroup): string {
  const name = formatIpAddress(group.address)
  const words = (what: string, sources: readonly EncodedSource[]): readonly string[] =>
    sources.length === 0 ? [] : [`${what} ${namesOf(name, sources.map(sourceText))}`]
  return [...words('join', joined), ...words('prune', pruned)].join(' ')
}

function sourceText({ address, wildcard }: EncodedSource): string {
  return wildcard ? '*' : formatIpAddress(address)
}

/** `(*,G)` without sources. */
function namesOf(group: string, sources: readonly string[]): string {
  return listed(sources.length === 0 ? ['*'] : sources, (source) => `(${source},${group})`)
}

function listed<T>(all: readonly T[], text: (one: T) => string): string {
  const shown = all.slice(0, MAXIMUM_SHOWN).map(text)
  const more = all.length - shown.length
  return [...shown, ...(more > 0 ? [`and ${more} more`] : [])].join(', ')
}

const MAXIMUM_SHOWN = 4
