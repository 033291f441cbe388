const nested = (depth: number): unknown => (depth === 0 ? 'bottom' : { deeper: [nested(depth - 1)] })

/** Bodies of jobs that have been lost or changed on the way by one queue or database or another. */
export const BODIES: Readonly<Record<string, unknown>> = {
  null: null,
  'an empty text': '',
  'an empty object': {},
  'an empty list': [],
  false: false,
  'numbers at the edges': [0, -1, 0.1, 1e21, 5e-324, Number.MAX_SAFE_INTEGER, -Number.MAX_SAFE_INTEGER],
  'text of every kind':
    "ÄÖ ½ – “quoted” 'single' \\ back / slash \t \n \r 日本語 🙈👩‍👩‍👧 \u2028 \u2029 %s $1 ? :name {{x}}",
  'text like JSON': '{"a":[1,2,{"b":null}]}',
  'text like SQL': `'); drop table holdfast_tasks; --`,
  'keys of every kind': JSON.parse('{"__proto__":{"a":1},"constructor":2,"":3,"a b":4,"ключ":5,"toJSON":6}'),
  'a date as text': '2026-02-29T23:59:60.123Z',
  '60 levels': nested(30),
  '200 KB': 'x😀'.repeat(40_000),
}
