-- Distribution has two levels: a plan or a credit with one more cannot be written.
-- Statements end with a semicolon at the end of a line.

ALTER TABLE campaign_versions ADD CONSTRAINT campaign_versions_two_levels CHECK (
  (body -> 'split_plan') - '{promoter_bps,upline_bps,store_bps,level_two,cap_bps}'::text[] = '{}');

ALTER TABLE orders ADD CONSTRAINT orders_two_levels CHECK (
  credit - '{plan,credit,why}'::text[] = '{}'
  AND (credit -> 'plan') - '{promoter_bps,upline_bps,store_bps,level_two,cap_bps}'::text[] = '{}'
  AND (credit -> 'credit') - '{promoter_id,upline_id,store_id,buyer_guide_id}'::text[] = '{}');
