import { bossOn } from '../../vitest.legs.js'

const { HOLDFAST_TEST_DB: db = 'postgres', HOLDFAST_TEST_PG_BOSS } = process.env
const versions = { 'pg-boss-12': '12.38.0', 'pg-boss-12-floor': '12.35.0' } as const

export default bossOn({ db, boss: versions[HOLDFAST_TEST_PG_BOSS as keyof typeof versions] ?? '10.4.2' })
