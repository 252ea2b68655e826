/** What descriptions of virtual machines say, and what hostile ones achieve: a sentence. */
import fc from 'fast-check'
import t from 'tap'
import { formatEid } from '../../src/lisp/eid.js'
import { readWorkload } from '../../src/workload/workload-description.js'
import { MAXIMUM_XML_CHARACTERS, readXml } from '../../src/workload/xml-reader.js'

const domain = (metadata: string, more = ''): string =>
  `<?xml version='1.0'?><!-- kept -->
<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>vm &amp; 1</name><uuid>5E1F0A10-0000-4000-8000-000000000005</uuid>${metadata}
  <devices><interface type='bridge'><mac address='52:54:00:0A:0A:05'/></interface>${more}</devices>
</domain>`
const eids = (inner: string, attributes = "instanceId='7'"): string =>
  `<metadata><g:eids xmlns:g='urn:godwit:domain:1' ${attributes}>${inner}</g:eids></metadata>`
const problemOf = (text: string): string => {
  const result = readWorkload(text)
  return result.ok ? '' : result.problem
}
const eidsOf = (text: string): string[] => {
  const result = readWorkload(text)
  return result.ok ? result.workload.eids.map(formatEid) : [result.problem]
}

t.test('a domain names its EIDs of several families and instances', async (t) => {
  const two = `<metadata>
    <eids xmlns='urn:godwit:domain:1' instanceId='7'><eid> 10.10.0.5 </eid><eid>fd00:10::5/128</eid></eids>
    <g:eids xmlns:g='urn:godwit:domain:1' instanceId='9'><g:eid>10.10.0.5/32</g:eid></g:eids>
    <other xmlns='urn:godwit:domain:2'><eid>10.9.9.9</eid></other></metadata>`
  const result = readWorkload(domain(two))
  t.ok(result.ok)
  if (!result.ok) return
  t.same(result.workload.eids.map(formatEid), ['[7]10.10.0.5', '[7]fd00:10::5', '[9]10.10.0.5'])
  t.equal(result.workload.name, 'vm & 1')
  t.equal(result.workload.uuid, '5e1f0a10-0000-4000-8000-000000000005')
  t.same(result.workload.macs, ['52:54:00:0a:0a:05'])
})

t.test('a domain without metadata has no EIDs, and that is no error', async (t) => {
  t.same(eidsOf(domain('')), [])
  t.same(eidsOf(domain('<metadata/>')), [])
  // Elements that look like ours in another namespace are not ours.
  t.same(eidsOf(domain("<metadata><eids xmlns='urn:x'><eid>10.0.0.1</eid></eids></metadata>")), [])
})

t.test('what is no EID is refused with the text of it', async (t) => {
  t.match(problemOf(domain(eids('<g:eid>10.10.0.0/24</g:eid>'))), /"10.10.0.0\/24" is not an EID/)
  t.match(problemOf(domain(eids('<g:eid>vm1.example</g:eid>'))), /"vm1.example" is not an EID/)
  t.match(problemOf(domain(eids('<g:eid/>'))), /"" is not an EID/)
  t.match(problemOf(domain(eids('<g:eid>10.0.0.1</g:eid>', "instanceId='x'"))), /instance-ID "x"/)
  t.match(problemOf(domain(eids('', "instanceId='16777216'"))), /instance-ID/)
  t.match(problemOf(domain(eids('<g:eid>10.0.0.1</g:eid>'.repeat(65)))), /more than 64 EIDs/)
})

t.test('an OVF envelope names its EIDs by properties', async (t) => {
  const ovf = (
    properties: string,
  ): string => `<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1"
    xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"><VirtualSystem ovf:id="web">
    <ProductSection>${properties}</ProductSection></VirtualSystem></Envelope>`
  const good = `<Property ovf:key="godwit.eids" ovf:value="10.10.0.5, fd00:10::5"/>
    <Property ovf:key="godwit.instanceId" ovf:value="7"/>`
  const result = readWorkload(ovf(good))
  t.match(result, { ok: true, workload: { kind: 'ovf', name: 'web' } })
  t.same(eidsOf(ovf(good)), ['[7]10.10.0.5', '[7]fd00:10::5'])
  t.same(eidsOf(ovf('')), [])
  t.match(problemOf('<Envelope xmlns="urn:other"/>'), /neither a domain nor an OVF/)
})

t.test('entities, document types and their bombs are refused unread', async (t) => {
  const bomb = `<!DOCTYPE d [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>${domain('&b;')}`
  t.match(problemOf(bomb), /document type or entity/)
  t.match(problemOf(domain('&b;')), /the entity &b;/)
  t.match(problemOf(domain('<!ENTITY b "x">')), /document type or entity/)
  t.match(problemOf(domain('&#x110000;')), /the entity/)
  t.match(problemOf(domain('a & b')), /the entity/)
  const external = `<!DOCTYPE domain SYSTEM "file:///etc/passwd">${domain('')}`
  t.match(problemOf(external), /document type or entity/)
})

t.test('a description of 10 MB is refused without being read', async (t) => {
  const began = performance.now()
  t.match(problemOf(domain(`<metadata>${' '.repeat(10 << 20)}</metadata>`)), /longer than 1048576/)
  t.ok(performance.now() - began < 1_000)
})

t.test('what is malformed says where', async (t) => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ['', /no element/],
    ['just words', /text outside the root/],
    ['<domain>', /<domain> is not closed/],
    ['<domain></name>', /<\/name> closes <domain>/],
    ['<domain a=1/>', /<domain> is malformed/],
    ["<domain a='1' a='2'/>", /attribute a twice/],
    ['<x:domain/>', /prefix of x:domain is not declared/],
    ['<domain/><domain/>', /a second root/],
    ['<domain/>tail', /text outside the root/],
    ['<!-- open', /no "-->"/],
    ['<domain><![CDATA[x</domain>', /no "]]>"/],
    ['< domain/>', /a tag without a name/],
    ['</domain>', /closes <>/],
    [`${'<a>'.repeat(65)}`, /too deep/],
    [`<a>${'<b/>'.repeat(20_001)}</a>`, /too many elements/],
    [`<a ${Array.from({ length: 65 }, (_, index) => `a${index}=''`).join(' ')}/>`, /too many attributes/],
    [`${Array.from({ length: 60 }, (_, depth) => `<a xmlns:p${depth}='' xmlns:q${depth}=''>`).join('')}`, /too many namespaces/],
  ] // biome-ignore format: one case per line
  for (const [text, problem] of cases) t.match(problemOf(text), problem, text.slice(0, 30))
})

t.test('no input makes it throw or take long', async (t) => {
  const pieces = fc.constantFrom('<', '>', '/', '!', '--', '&', ';', "'", '"', '=', ' ', 'a', 'x:a',
    'xmlns:x', '<![CDATA[', ']]>', '<?', '?>', '<domain>', '</domain>', '<metadata>', '#x41') // biome-ignore format: a list
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 60 }), (parts) => {
      readWorkload(parts.join(''))
      readWorkload(`<domain>${parts.join('')}</domain>`)
    }),
    { numRuns: 3_000 },
  )
  // Every kind of unterminated thing, at full length: linear time, or this takes minutes.
  const began = performance.now()
  for (const unit of ['<a ', '<', '&', "<a b='", '<!--', '<a>', ' ', '&#', "<a b='c' ", '</a']) {
    readXml(`<r>${unit.repeat(Math.floor((MAXIMUM_XML_CHARACTERS - 10) / unit.length))}`)
  }
  t.ok(performance.now() - began < 5_000, `${Math.round(performance.now() - began)} ms`)
})
