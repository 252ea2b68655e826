/**
 * Registered names and places as an operator reads them, page by page.
 *
 * In the order of their text, then of their sites: they have no order of prefixes. All that is said of
 * where a site is stands here; what others are told of it passes geo-policy.ts.
 */
import { formatIpAddress } from '../../lisp/address.js'
import { addressText } from '../../lisp/describe.js'
import { formatDescribedEid } from '../../lisp/described-eid.js'
import type { Locator } from '../../lisp/locator.js'
import type {
  DescribedRegistration,
  DescribedRegistrations,
} from '../../tables/described-registrations.js'
import type { Instant } from '../capabilities.js'
import type { DescribedEidView, LocatorView } from '../snapshot.js'
import type { DescribedQuery, TablePage } from '../table-pages.js'

/** One page, every registrant of an EID; looks at the whole table, some 10 ms when it is full. */
export function describedEidPage(
  registrations: DescribedRegistrations,
  query: DescribedQuery,
  now: Instant,
): TablePage<DescribedEidView> {
  const { found, total, isLast } = registrations.page(query)
  const last = found.at(-1)
  return {
    entries: found.flatMap(({ registration }) => viewsOf(registration, now)),
    total,
    next: isLast ? undefined : last?.name,
  }
}

function viewsOf(
  { eid, site, registrants }: DescribedRegistration,
  now: Instant,
): DescribedEidView[] {
  return registrants.map(({ owner, record, proxyReply, expiresAt }) => ({
    eid: formatDescribedEid(eid),
    kind: eid.kind,
    instanceId: eid.instanceId,
    site,
    owner,
    locators: record.locators.map(locatorView),
    otherLocators: (record.otherLocators ?? []).map(({ structure }) => addressText(structure)),
    proxyReply,
    expiresInMs: expiresAt - now,
  }))
}

function locatorView({ rloc, priority, weight, reachable }: Locator): LocatorView {
  return { rloc: formatIpAddress(rloc), priority, weight, reachable }
}
