"""The functions that a query may call on a server or in DuckDB: they compute from their arguments only.

Left out is what reads files or settings, waits, locks, notifies, counts up, or runs a text as SQL (such as `ts_stat`
and `query_to_xml`). A name that one of the databases does not know does no harm.
"""

_AGGREGATES = """
any_value approx_count_distinct approx_quantile arbitrary arg_max arg_min array_agg avg bit_and bit_or bit_xor
bool_and bool_or corr count count_if covar_pop covar_samp cume_dist dense_rank entropy every favg first first_value
fsum grouping grouping_id group_concat histogram json_agg json_arrayagg json_group_array json_group_object
json_object_agg json_objectagg jsonb_agg jsonb_object_agg kurtosis lag last last_value lead list listagg mad max
max_by median min min_by mode nth_value ntile percent_rank percentile_cont percentile_disc product quantile
quantile_cont quantile_disc range_agg rank regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx
regr_sxy regr_syy row_number skewness std stddev stddev_pop stddev_samp string_agg sum sumkahan var_pop var_samp
variance xmlagg
"""

_NUMBERS = """
abs acos acosh asin asinh atan atan2 atanh bin bit_count cbrt ceil ceiling conv cos cosh cot crc32 degrees div even
exp factorial floor gamma gcd greatest hex isfinite isinf isnan lcm least lgamma ln log log10 log1p log2 mod oct pi
pow power radians rand random round scale sign signbit sin sinh sqrt tan tanh to_hex trim_scale trunc truncate unhex
width_bucket
"""

_TEXTS = """
array_extract ascii bar bit_length btrim char char_length character_length chr collation concat concat_ws contains
convert_from damerau_levenshtein decode difference editdist3 elt encode ends_with export_set field find_in_set format
from_base64 hamming ilike_escape initcap instr jaccard jaro_similarity jaro_winkler_similarity lcase left
left_grapheme length length_utf8 levenshtein levenshtein_less_equal like_escape locate lower lpad ltrim make_set md5
mid nfc_normalize normalize octet_length ord overlay parse_ident position prefix printf quote quote_ident
quote_literal quote_nullable regexp_count regexp_extract regexp_extract_all regexp_full_match regexp_instr regexp_like
regexp_match regexp_matches regexp_replace regexp_split_to_array regexp_split_to_table regexp_substr repeat replace
reverse right right_grapheme rpad rtrim sha1 sha2 sha224 sha256 sha384 sha512 similarity soundex space split
split_part starts_with str_split str_split_regex strcmp strip_accents strlen strpos string_split string_split_regex
string_to_array string_to_table substr substring substring_grapheme substring_index suffix to_ascii to_base64
translate trim ucase unaccent unicode unistr upper url_decode url_encode word_similarity
"""

_DATES = """
adddate addtime age century clock_timestamp convert_tz curdate current_date current_time current_timestamp curtime
date date_add date_bin date_diff date_format date_part date_sub date_trunc datediff datepart datesub datetime
datetrunc day dayname dayofmonth dayofweek dayofyear decade epoch epoch_ms epoch_ns epoch_us era extract from_days
from_unixtime get_format hour isodow isoyear justify_days justify_hours justify_interval julian last_day localtime
localtimestamp make_date make_interval make_time make_timestamp make_timestamp_ms make_timestamptz makedate maketime
microsecond millennium millisecond minute month monthname now period_add period_diff quarter sec_to_time second
statement_timestamp str_to_date strftime strptime subdate subtime time time_bucket time_format time_to_sec timediff
timestamp timestampadd timestampdiff timezone to_char to_date to_days to_hours to_microseconds to_milliseconds
to_minutes to_months to_number to_quarters to_seconds to_timestamp to_weeks to_years today transaction_timestamp
try_strptime unix_timestamp utc_date utc_time utc_timestamp week weekday weekofyear year yearweek
"""

_CONDITIONS = """
cast coalesce convert if ifnull iif isnull nullif num_nonnulls num_nulls nvl nvl2 pg_typeof try try_cast typeof
"""

_JSON = """
from_json json json_array json_array_elements json_array_elements_text json_array_length json_build_array
json_build_object json_compact json_contains json_contains_path json_depth json_detailed json_each json_each_text
json_equals json_exists json_extract json_extract_path json_extract_path_text json_extract_string json_keys
json_length json_loose json_normalize json_object json_object_keys json_overlaps json_pretty json_query json_quote
json_search json_strip_nulls json_structure json_table json_to_record json_to_recordset json_transform
json_transform_strict json_type json_typeof json_unquote json_valid json_value jsonb_array_elements
jsonb_array_elements_text jsonb_array_length jsonb_build_array jsonb_build_object jsonb_each jsonb_each_text
jsonb_exists jsonb_extract_path jsonb_extract_path_text jsonb_object jsonb_object_keys jsonb_path_exists
jsonb_path_match jsonb_path_query jsonb_path_query_array jsonb_path_query_first jsonb_pretty jsonb_strip_nulls
jsonb_to_record jsonb_to_recordset jsonb_typeof row_to_json to_json to_jsonb
"""

_LISTS = """
akeys aggregate array_aggregate array_append array_cat array_concat array_contains array_dims array_distinct
array_filter array_has array_has_all array_has_any array_length array_lower array_ndims array_position array_positions
array_prepend array_remove array_replace array_slice array_sort array_sum array_to_json array_to_string
array_transform array_unique array_upper avals cardinality element_at flatten generate_series generate_subscripts len
list_aggregate list_any_value list_append list_avg list_cat list_concat list_contains list_count list_distinct
list_element list_extract list_filter list_first list_has list_has_all list_has_any list_intersect list_last list_max
list_median list_min list_position list_prepend list_product list_reduce list_reverse list_reverse_sort list_select
list_slice list_sort list_sum list_transform list_unique list_value list_where list_zip lower_inc map map_contains
map_entries map_extract map_extract_value map_from_entries map_keys map_values range range_merge row skeys
struct_extract struct_insert struct_pack svals unnest upper_inc
"""

_SEARCH = """
match match_bm25 plainto_tsquery phraseto_tsquery numnode querytree setweight strip to_tsquery to_tsvector ts_headline
ts_rank ts_rank_cd tsvector_to_array websearch_to_tsquery
"""

_OTHERS = """
abbrev area broadcast box center circle cosine_distance cosine_similarity diameter family gen_random_uuid host
hostmask inet_aton inet_ntoa inner_product is_ipv4 is_ipv6 isempty l1_distance l2_distance masklen netmask network
point radius uuid st_area st_asgeojson st_astext st_buffer st_centroid st_contains st_convexhull st_covers st_crosses
st_difference st_disjoint st_distance st_distance_sphere st_distancesphere st_dwithin st_envelope st_equals
st_geomfromtext st_intersection st_intersects st_isvalid st_length st_makeenvelope st_makepoint st_npoints
st_numpoints st_overlaps st_perimeter st_point st_pointfromtext st_setsrid st_simplify st_srid st_touches st_transform
st_union st_within st_x st_y
"""

FUNCTIONS = frozenset(
    " ".join((_AGGREGATES, _NUMBERS, _TEXTS, _DATES, _CONDITIONS, _JSON, _LISTS, _SEARCH, _OTHERS)).split()
)
"""Names of the functions, in lower case."""

SIZED = frozenset({"lpad", "repeat", "rpad", "space"})
"""Those whose result is as long as an argument says; it has to be a number in the query."""

_SYNTAX = """
all and any array as between bernoulli both by case columns cross cube distinct div else end escape except exclude
exists fetch filter from full group having ilike in inner intersect interval is join lateral leading left like
limit materialized natural not offset on or order outer over partition qualify recursive regexp replace return right
rlike rollup row rows select sets similar some struct system then to trailing union unpivot pivot using values when
where window with within xor binary bit bigint blob bpchar char character date datetime dec decimal double float int
integer nchar number numeric nvarchar precision real signed smallint text time timestamp timestamptz timetz tinyint
unsigned varbinary varbit varchar varying year
"""

SYNTAX = frozenset(_SYNTAX.split())
"""Words of the language that may stand before a parenthesis and call nothing; types may have a length."""
