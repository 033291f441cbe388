import { graphileOn } from '../../vitest.legs.js'

const { HOLDFAST_TEST_DB: db = 'postgres', HOLDFAST_TEST_GRAPHILE_WORKER } = process.env
const minor = HOLDFAST_TEST_GRAPHILE_WORKER?.split('-')[2]

export default graphileOn({ db, graphile: minor === '16' ? '0.16.6' : minor === '18' ? '0.18.0' : '0.17.3' })
